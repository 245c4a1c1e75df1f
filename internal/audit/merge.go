package audit

import "slices"

// Merge is the record of several proxies, the newest first, at most limit. A
// file that several of them have seen change is told once.
func Merge(limit int, all ...[]Entry) []Entry {
	merged := slices.Concat(all...)
	slices.SortStableFunc(merged, func(a, b Entry) int { return b.At.Compare(a.At) })
	type change struct{ kind, name, action, stamp string }
	told := make(map[change]bool)
	merged = slices.DeleteFunc(merged, func(e Entry) bool {
		c := change{e.Kind, e.Name, e.Action, e.Stamp}
		twice := e.Via == File && e.Stamp != Gone && e.Stamp != "" && told[c]
		told[c] = true
		return twice
	})
	return merged[:min(limit, len(merged))]
}
