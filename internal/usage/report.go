package usage

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is what was called in a time, all in all, or in one hour or day of it.
type Row struct {
	At         time.Time `json:"at,omitzero"` // when the hour or day begins, where they are told apart
	Tenant     string    `json:"tenant"`
	Caller     string    `json:"caller"` // "(others)" where they are too many to tell apart
	Service    Service   `json:"service"`
	Version    string    `json:"version"`
	Requests   int64     `json:"requests"`
	Operations int64     `json:"operations"` // that may count as the tenant's daily requests: those inside batches, and no refusal of ours
	Errors     int64     `json:"errors"`     // requests that got a status of 400 or more
	Last       time.Time `json:"last"`
	Retired    bool      `json:"retired"`        // by Microsoft, or about to be
	Next       string    `json:"next,omitempty"` // what to use in its place
}

// Question says what is asked for.
type Question struct {
	Since  time.Time // to the hour; beyond two days, to the day (UTC)
	By     string    // "hour" or "day" to tell these apart, "" for one sum
	Tenant string    // "" for all
	Caller string    // likewise
}

// Rows answers q, in the order of tenant, caller, service, version and time.
func (u *Usage) Rows(q Question) []Row {
	sums := make(map[key]map[int64]counts)
	since := q.Since.Unix()
	for k, spans := range u.all() {
		if q.Tenant != "" && q.Tenant != k.tenant || q.Caller != "" && q.Caller != k.caller {
			continue
		}
		for s, c := range spans {
			if s.end() <= since {
				continue
			}
			at := int64(0)
			switch q.By {
			case "hour":
				at = s.at
			case "day":
				at = s.ofDay().at
			}
			if sums[k] == nil {
				sums[k] = make(map[int64]counts)
			}
			sums[k][at] = sums[k][at].plus(c)
		}
	}
	answer := make([]Row, 0, len(sums))
	for k, times := range sums {
		for _, at := range slices.Sorted(maps.Keys(times)) {
			answer = append(answer, rowOf(k, at, times[at]))
		}
	}
	slices.SortStableFunc(answer, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Caller, b.Caller),
			strings.Compare(string(a.Service), string(b.Service)), strings.Compare(a.Version, b.Version))
	})
	return answer
}

func rowOf(k key, at int64, c counts) Row {
	r := Row{
		Tenant: k.tenant, Caller: k.caller, Service: k.service, Version: k.version,
		Requests: c.requests, Operations: c.operations, Errors: c.errors, Last: time.Unix(c.last, 0).UTC(),
	}
	if at != 0 {
		r.At = time.Unix(at, 0).UTC()
	}
	r.Retired, r.Next = retired(k.service, k.version)
	return r
}

// all are the rows of every process on the directory.
func (u *Usage) all() rows {
	u.mu.Lock()
	defer u.mu.Unlock()
	if stamp := u.journal.Stamp(); stamp != u.stamp {
		u.stamp, u.beside = stamp, make(rows)
		// Two of them may have counted the same row: each is read by itself.
		var one rows
		u.journal.Others(func() { u.addBeside(one); one = make(rows) }, func(text []byte) { one.read(text, oldest()) })
		u.addBeside(one)
	}
	all := u.own()
	for k, spans := range u.beside {
		for s, c := range spans {
			all.add(k, s, c)
		}
	}
	return all
}

func (u *Usage) addBeside(one rows) {
	for k, spans := range one {
		if u.gone[k.tenant] {
			continue
		}
		for s, c := range spans {
			u.beside.add(k, s, c)
		}
	}
}

// Forecast is what a tenant will have used at the end of the day (UTC) if it
// goes on as it does.
type Forecast struct {
	Tenant      string `json:"tenant"`
	Today       int64  `json:"operations_today"` // since midnight UTC
	Forecast    int64  `json:"forecast"`         // at midnight, at today's rate; in the day's first hour, of the last 24
	Entitlement int64  `json:"daily_requests,omitempty"`
	Percent     int    `json:"percent,omitempty"` // of the entitlement that the forecast comes to
}

// Forecasts returns those of all tenants with operations today, the one nearest
// to its entitlement first. entitlement is a tenant's, 0 if it is not known.
func (u *Usage) Forecasts(now time.Time, entitlement func(tenant string) int) []Forecast {
	midnight := now.UTC().Truncate(24 * time.Hour)
	today, last := make(map[string]int64), make(map[string]int64)
	for k, spans := range u.all() {
		for s, c := range spans {
			if s.at >= midnight.Unix() {
				today[k.tenant] += c.operations
			}
			if s.end() > now.Add(-24*time.Hour).Unix() {
				last[k.tenant] += c.operations
			}
		}
	}
	all := make([]Forecast, 0, len(last))
	for tenant, n := range last {
		f := Forecast{Tenant: tenant, Today: today[tenant], Forecast: n, Entitlement: int64(entitlement(tenant))}
		if passed := now.Sub(midnight); passed >= time.Hour {
			f.Forecast = int64(float64(f.Today) * float64(24*time.Hour) / float64(passed))
		}
		if f.Entitlement > 0 {
			f.Percent = int(f.Forecast * 100 / f.Entitlement)
		}
		if n > 0 {
			all = append(all, f)
		}
	}
	byNeed(all)
	return all
}

// ParseSince reads how far back to look: 90m, 24h or 7d.
func ParseSince(text string) (time.Duration, error) {
	far, err := time.ParseDuration(text)
	if days, is := strings.CutSuffix(text, "d"); is {
		var n int
		n, err = strconv.Atoi(days)
		far = time.Duration(min(n, 1000)) * 24 * time.Hour
	}
	if err != nil || far <= 0 || far > longest {
		return 0, fmt.Errorf("since must be a time such as 90m, 24h or 7d, of at most %d days", longest/(24*time.Hour))
	}
	return far, nil
}

// WriteCSV writes rows as a table for spreadsheets.
func WriteCSV(to io.Writer, all []Row) error {
	w := csv.NewWriter(to)
	w.UseCRLF = true // as RFC 4180 has it
	head := []string{"tenant", "caller", "service", "version", "requests", "operations", "errors", "last", "retired", "next"}
	byTime := slices.ContainsFunc(all, func(r Row) bool { return !r.At.IsZero() })
	if byTime {
		head = append([]string{"at"}, head...)
	}
	w.Write(head) // Flush tells of what fails
	for _, r := range all {
		line := []string{
			cell(r.Tenant), cell(r.Caller), cell(string(r.Service)), cell(r.Version), strconv.FormatInt(r.Requests, 10),
			strconv.FormatInt(r.Operations, 10), strconv.FormatInt(r.Errors, 10), r.Last.Format(time.RFC3339), strconv.FormatBool(r.Retired), cell(r.Next),
		}
		if byTime {
			line = append([]string{r.At.Format(time.RFC3339)}, line...)
		}
		w.Write(line)
	}
	w.Flush()
	return w.Error()
}

// cell keeps a spreadsheet from taking a text for a formula.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}
