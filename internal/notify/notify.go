// Package notify tells a webhook what an operator wants to hear of without
// looking: that a tenant breaks or recovers, that a credential or certificate
// ends soon, that consent is given. It keeps no queue of messages but what is
// not yet told: whatever a receiver misses is told in one message when it
// answers again, and as it is then.
package notify

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/secret"
	"dynproxy/internal/statedir"
)

// Kind is what a Notice is about.
type Kind string

// The kinds.
const (
	Broken      Kind = "tenant_broken"
	Recovered   Kind = "tenant_recovered"
	Flapping    Kind = "tenant_flapping" // breaks and recovers again and again
	Ends        Kind = "ends"            // a credential or certificate
	Consent     Kind = "consent_given"
	NewcomerHas Kind = "newcomer"
)

// Notice is one thing to be told. It holds no secret.
type Notice struct {
	Kind    Kind      `json:"event"`
	At      time.Time `json:"at"`
	Tenant  string    `json:"tenant,omitempty"`
	Code    string    `json:"code,omitempty"` // that callers get
	Finding string    `json:"finding,omitempty"`
	Next    string    `json:"next,omitempty"`

	Count int  `json:"count,omitempty"`  // how often a flapping tenant broke
	IsOut bool `json:"broken,omitempty"` // whether it is broken now

	Subject string    `json:"subject,omitempty"` // what ends
	Ends    time.Time `json:"ends,omitzero"`

	TenantID string `json:"tenant_id,omitempty"` // of a newcomer
	From     string `json:"from,omitempty"`      // its address

	key string // of what is told once; "" for what is not remembered
}

// Notifier tells.
type Notifier struct {
	Wire   http.RoundTripper // to the receiver; must not follow redirects
	Log    zerolog.Logger
	Host   string        // the name of this machine
	Portal func() string // where operators see more, "" for nowhere

	journal *statedir.Journal
	url     atomic.Pointer[secret.Text]
	woken   chan struct{}

	mu      sync.Mutex // guards what follows
	tenants map[string]*tenant
	pending []Notice             // that are not about a tenant's state
	dropped int                  // of those, for want of room
	marks   map[string]time.Time // what was told, by key
	sent    []time.Time          // the last messages
	failing string               // what the receiver last answered, "" for well
	tries   int                  // since it last answered well
	resting time.Time            // when it may be tried again
}

const mostPending = 200

// Open returns a Notifier that tells the receiver at url, and remembers in dir
// what it has told. An empty url tells nobody.
func Open(dir *statedir.Dir, url secret.Text, wire http.RoundTripper, log zerolog.Logger) *Notifier {
	n := &Notifier{Wire: wire, Log: log, woken: make(chan struct{}, 1), tenants: make(map[string]*tenant), marks: make(map[string]time.Time)}
	n.SetURL(url)
	n.journal = dir.Journal("notices", n)
	n.journal.Others(nil, n.Load)
	return n
}

// SetURL changes the receiver. What the former one was not told, the new one is.
func (n *Notifier) SetURL(url secret.Text) {
	n.url.Store(&url)
	n.mu.Lock()
	n.tries, n.resting = 0, time.Time{}
	n.mu.Unlock()
	n.wake()
}

// wake makes Run look.
func (n *Notifier) wake() {
	select {
	case n.woken <- struct{}{}:
	default: // it will
	}
}

// ConsentGiven tells that the administrator of a tenant has granted access, and
// that a token proves it.
func (n *Notifier) ConsentGiven(tenant string) {
	n.add(Notice{Kind: Consent, Tenant: tenant, At: time.Now()})
}

// Newcomer tells that somebody at an address says to be the administrator of a
// tenant that is not known here, and to have granted access.
func (n *Notifier) Newcomer(tenantID, from string) {
	n.add(Notice{Kind: NewcomerHas, TenantID: tenantID, From: from, At: time.Now()})
}

// add waits for the next message. The same again is one, and of too many the
// rest is counted.
func (n *Notifier) add(news Notice) {
	if n.url.Load().Empty() {
		return
	}
	n.mu.Lock()
	same := slices.ContainsFunc(n.pending, func(p Notice) bool {
		return p.Kind == news.Kind && p.Tenant == news.Tenant && p.TenantID == news.TenantID && p.key == news.key
	})
	switch {
	case same:
	case len(n.pending) >= mostPending:
		n.dropped++
	default:
		n.pending = append(n.pending, news)
	}
	n.mu.Unlock()
	n.wake()
}

// mark is how the Notifier remembers on disk.
type mark struct {
	Key    string    `json:"key,omitempty"` // of what is told once
	Tenant string    `json:"tenant,omitempty"`
	Broken bool      `json:"broken,omitempty"` // what was told of the tenant last
	At     time.Time `json:"at"`
}

// keptMarks is how long it is remembered that something was told: longer than
// the longest reminder.
const keptMarks = 60 * 24 * time.Hour

// Load is statedir.Content's.
func (n *Notifier) Load(line []byte) {
	var m mark
	if json.Unmarshal(line, &m) != nil || time.Since(m.At) > keptMarks && m.Tenant == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case m.Tenant != "":
		t := n.of(m.Tenant)
		if !m.At.Before(t.toldAt) {
			t.told, t.broken, t.toldAt = m.Broken, m.Broken, m.At
		}
	case m.Key != "":
		n.marks[m.Key] = m.At
	}
}

// Whole is statedir.Content's.
func (n *Notifier) Whole() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var text []byte
	for _, key := range slices.Sorted(maps.Keys(n.marks)) {
		if time.Since(n.marks[key]) < keptMarks {
			text = appendMark(text, mark{Key: key, At: n.marks[key]})
		}
	}
	for name, t := range n.tenants {
		if t.told {
			text = appendMark(text, mark{Tenant: name, Broken: true, At: t.toldAt})
		}
	}
	return text
}

func appendMark(text []byte, m mark) []byte {
	line, _ := json.Marshal(m) // of texts and times, which cannot fail
	return append(append(text, line...), '\n')
}

// Keep adds to the disk what could not be kept before. It is called now and then.
func (n *Notifier) Keep() { n.journal.Append(nil) }

// Retain forgets tenants that are not there any more.
func (n *Notifier) Retain(there func(tenant string) bool) {
	n.mu.Lock()
	before := len(n.tenants)
	maps.DeleteFunc(n.tenants, func(name string, _ *tenant) bool { return !there(name) })
	gone := len(n.tenants) < before
	n.mu.Unlock()
	if gone {
		n.journal.Renew()
	}
}

// Failing says why the receiver was not told last time, "" if it was.
func (n *Notifier) Failing() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failing
}

// Close ends the keeping.
func (n *Notifier) Close() { n.journal.Close() }

// Run tells until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.woken:
		case <-timer.C:
		}
		if url := *n.url.Load(); !url.Empty() {
			n.tell(ctx, url)
		}
		timer.Reset(n.wait(time.Now()))
	}
}
