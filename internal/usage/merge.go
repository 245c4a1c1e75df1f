package usage

import (
	"cmp"
	"slices"
	"strings"
)

// Merge is the sum of what several proxies have counted.
func Merge(all ...[]Row) []Row {
	type id struct {
		at                               int64
		tenant, caller, service, version string
	}
	sums := make(map[id]int)
	merged := []Row{}
	for _, rows := range all {
		for _, r := range rows {
			key := id{r.At.Unix(), r.Tenant, r.Caller, string(r.Service), r.Version}
			i, known := sums[key]
			if !known {
				sums[key] = len(merged)
				merged = append(merged, r)
				continue
			}
			m := &merged[i]
			m.Requests, m.Operations, m.Errors = m.Requests+r.Requests, m.Operations+r.Operations, m.Errors+r.Errors
			if r.Last.After(m.Last) {
				m.Last = r.Last
			}
		}
	}
	slices.SortStableFunc(merged, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Caller, b.Caller),
			strings.Compare(string(a.Service), string(b.Service)), strings.Compare(a.Version, b.Version), a.At.Compare(b.At))
	})
	return merged
}

// MergeForecasts is the sum of what several proxies forecast.
func MergeForecasts(all ...[]Forecast) []Forecast {
	byTenant := make(map[string]int)
	merged := []Forecast{}
	for _, forecasts := range all {
		for _, f := range forecasts {
			i, known := byTenant[f.Tenant]
			if !known {
				byTenant[f.Tenant] = len(merged)
				merged = append(merged, f)
				continue
			}
			merged[i].Today += f.Today
			merged[i].Forecast += f.Forecast
			merged[i].Entitlement = max(merged[i].Entitlement, f.Entitlement)
		}
	}
	for i := range merged {
		if f := &merged[i]; f.Entitlement > 0 {
			f.Percent = int(f.Forecast * 100 / f.Entitlement)
		}
	}
	byNeed(merged)
	return merged
}

// byNeed puts the one nearest to its entitlement first.
func byNeed(all []Forecast) {
	slices.SortFunc(all, func(a, b Forecast) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(b.Forecast, a.Forecast), strings.Compare(a.Tenant, b.Tenant))
	})
}
