package status

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Traffic is what a proxy knows of a tenant's calls.
type Traffic struct {
	Name     string    `json:"name"`
	Calls    []int     `json:"calls"` // a minute, of the last hour, the oldest first
	Success  time.Time `json:"success,omitzero"`
	Failures []Failure `json:"failures,omitempty"`
	Callers  []Share   `json:"callers,omitempty"`
}

// Of is what t says of calls, for another proxy.
func (t *Tenant) Of() Traffic {
	return Traffic{t.Name, t.Traffic, t.Success, t.Failures, t.Callers}
}

// Add adds what another proxy knows of t's calls.
func (t *Tenant) Add(other Traffic) {
	if len(other.Calls) == len(t.Traffic) {
		t.Traffic = slices.Clone(t.Traffic)
		for i, n := range other.Calls {
			t.Traffic[i] += n
		}
	} else if len(t.Traffic) == 0 {
		t.Traffic = other.Calls
	}
	if other.Success.After(t.Success) {
		t.Success = other.Success
	}
	t.Failures = slices.Clone(t.Failures)
	for _, f := range other.Failures {
		at := slices.IndexFunc(t.Failures, func(own Failure) bool { return own.Code == f.Code })
		if at < 0 {
			t.Failures = append(t.Failures, f)
			continue
		}
		t.Failures[at].Count += f.Count
		if f.Last.After(t.Failures[at].Last) {
			t.Failures[at].Last = f.Last
		}
	}
	t.Callers = slices.Clone(t.Callers)
	for _, s := range other.Callers {
		at := slices.IndexFunc(t.Callers, func(own Share) bool { return own.Name == s.Name })
		if at < 0 {
			t.Callers = append(t.Callers, s)
			continue
		}
		t.Callers[at].Used += s.Used
		t.Callers[at].Waiting += s.Waiting
	}
	slices.SortStableFunc(t.Callers, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), strings.Compare(a.Name, b.Name))
	})
}

// Doubt has a tenant checked in the background, since another proxy has seen
// its state turn.
func (b *Board) Doubt(name string) {
	if !b.quiet.Load() {
		b.poll(name, 0)
	}
}
