package calls

import "slices"

// Merge are the latest calls of several proxies, newest first, at most limit.
func Merge(limit int, all ...[]*Call) []*Call {
	merged := slices.Concat(all...)
	slices.SortStableFunc(merged, func(a, b *Call) int { return b.Time.Compare(a.Time) })
	return merged[:min(limit, len(merged))]
}
