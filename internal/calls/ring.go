package calls

import (
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/time/rate"
)

// How much is remembered, in bytes; with what waits for those who watch, 64 MiB
// at most in all.
const (
	mostOfFailures  = 32 << 20 // of calls to tenants
	mostOfOneTenant = mostOfFailures / 4
	mostOfStrangers = 6 << 20 // refused before a tenant was found: anybody can make these
	mostOfSuccesses = 16 << 20
)

// Of successes a share is remembered: so many a second, and each that was slow
// or took more than one attempt.
const (
	successesASecond = 100
	successesAtOnce  = 1000
	slow             = time.Second
)

// Ring remembers calls that have ended: all failures, the oldest of which go
// when there is no more room, and a share of the successes. Failures of one
// tenant leave room for those of others. Make one with NewRing.
type Ring struct {
	share    *rate.Limiter // of successes
	watchers watchers

	mu      sync.Mutex // guards what follows
	all     chain      // in the order of their ends
	kinds   [kinds]chain
	tenants map[string]*chain // failures of each
	ids     map[string]*chain // those that have the same
}

// kind is what a call counts as for the room that it takes.
type kind uint8

const (
	success kind = iota
	failure
	stranger
	kinds
)

var room = [kinds]int{mostOfSuccesses, mostOfFailures, mostOfStrangers}

// entry is a call that is remembered. The call itself never changes.
type entry struct {
	Call
	kind  kind
	bytes int
	links [ways]struct{ older, newer *entry }
}

// The chains that an entry hangs in.
const (
	byEnd = iota
	byKind
	byTenant
	byID
	ways
)

// chain is a list of entries, the newest last, in one of their ways.
type chain struct {
	way            int
	oldest, newest *entry
	n, bytes       int
}

func (c *chain) add(e *entry) {
	e.links[c.way].older = c.newest
	if c.newest != nil {
		c.newest.links[c.way].newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
	c.n++
	c.bytes += e.bytes
}

// remove takes e out. What e itself says of its neighbours stays, so that who
// stands at e can go on to the older ones.
func (c *chain) remove(e *entry) {
	l := e.links[c.way]
	if l.older != nil {
		l.older.links[c.way].newer = l.newer
	} else {
		c.oldest = l.newer
	}
	if l.newer != nil {
		l.newer.links[c.way].older = l.older
	} else {
		c.newest = l.older
	}
	c.n--
	c.bytes -= e.bytes
}

// NewRing returns an empty Ring. It takes memory only for what it holds.
func NewRing() *Ring {
	r := &Ring{share: rate.NewLimiter(successesASecond, successesAtOnce), tenants: make(map[string]*chain), ids: make(map[string]*chain)}
	r.all.way = byEnd
	for i := range r.kinds {
		r.kinds[i].way = byKind
	}
	return r
}

// Add notes a call that has ended. It copies what it keeps.
func (r *Ring) Add(c *Call) {
	keep := c.Failed() || c.Total >= slow || len(c.Tries) > 1 || r.share.Allow()
	if !keep && !r.watchers.want(c) {
		return
	}
	e := &entry{Call: c.clone()}
	r.watchers.tell(&e.Call)
	if keep {
		r.keep(e)
	}
}

func (r *Ring) keep(e *entry) {
	switch {
	case !e.Failed():
		e.kind = success
	case e.Tenant == "":
		e.kind = stranger
	default:
		e.kind = failure
	}
	e.bytes = e.size()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.add(e)
	r.kinds[e.kind].add(e)
	chained(r.ids, e.ID, byID).add(e)
	if e.kind == failure {
		of := chained(r.tenants, e.Tenant, byTenant)
		of.add(e)
		for of.bytes > mostOfOneTenant {
			r.forget(of.oldest)
		}
	}
	for r.kinds[e.kind].bytes > room[e.kind] {
		r.forget(r.kinds[e.kind].oldest)
	}
}

func chained(m map[string]*chain, name string, way int) *chain {
	c := m[name]
	if c == nil {
		c = &chain{way: way}
		m[name] = c
	}
	return c
}

// forget drops e. It is called with mu held.
func (r *Ring) forget(e *entry) {
	r.all.remove(e)
	r.kinds[e.kind].remove(e)
	r.unchain(r.ids, e.ID, e)
	if e.kind == failure {
		r.unchain(r.tenants, e.Tenant, e)
	}
}

func (r *Ring) unchain(m map[string]*chain, name string, e *entry) {
	c := m[name]
	c.remove(e)
	if c.n == 0 {
		delete(m, name)
	}
}

// find returns the latest call with this id, and how many are remembered that
// have it: callers may choose ids, and repeat them. It returns nil for none.
func (r *Ring) find(id string) (latest *Call, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.ids[id]
	if c == nil {
		return nil, 0
	}
	return &c.newest.Call, c.n
}

// Filter picks calls. Its zero value picks all.
type Filter struct {
	Tenant string
	Caller string
	Failed bool
}

func (f *Filter) picks(c *Call) bool {
	return (f.Tenant == "" || f.Tenant == c.Tenant) && (f.Caller == "" || f.Caller == c.Caller) && (!f.Failed || c.Failed())
}

// stride is how many calls are looked at before others get their turn.
const stride = 256

// Last returns the latest calls that f picks, newest first, at most limit. They
// must not be changed.
func (r *Ring) Last(f Filter, limit int) []*Call {
	var found []*Call
	var e *entry
	for first := true; first || e != nil; first = false {
		r.mu.Lock()
		if first {
			e = r.all.newest
		}
		for n := 0; e != nil && n < stride; n++ {
			if f.picks(&e.Call) {
				found = append(found, &e.Call)
			}
			if len(found) >= limit {
				r.mu.Unlock()
				return found
			}
			e = e.links[byEnd].older
		}
		r.mu.Unlock()
	}
	return found
}

// Size is how many calls are remembered, and about how many bytes they take.
func (r *Ring) Size() (calls, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.n, r.all.bytes
}

// size is about what e takes: the allocator rounds up, and maps have their
// share.
func (e *entry) size() int {
	n := int(unsafe.Sizeof(*e)) + len(e.Tries)*int(unsafe.Sizeof(Try{})) + 200
	e.texts(func(text *string) { n += len(*text) })
	return n + n/8
}

// clone returns a copy that shares nothing with c, so that it keeps nothing
// else alive: a path is a part of what was asked, query included.
func (c *Call) clone() Call {
	k := *c
	k.OrgPath = ""
	k.Tries = append([]Try(nil), c.Tries...)
	n := 0
	k.texts(func(text *string) { n += len(*text) })
	var all strings.Builder
	all.Grow(n)
	k.texts(func(text *string) { all.WriteString(*text) })
	one := all.String()
	k.texts(func(text *string) { *text, one = one[:len(*text)], one[len(*text):] })
	return k
}

// texts visits what of c stands in memory of its own.
func (c *Call) texts(visit func(*string)) {
	for _, text := range [...]*string{
		&c.ID, &c.Caller, &c.Remote, &c.Host, &c.Agent, &c.Tenant, &c.Method, &c.Path, &c.Service,
		&c.Error, &c.OrgCode, &c.Reason, &c.Hint, &c.Next, &c.Message,
	} {
		visit(text)
	}
	for i := range c.Tries {
		visit(&c.Tries[i].OrgCode)
		visit(&c.Tries[i].Reason)
	}
}
