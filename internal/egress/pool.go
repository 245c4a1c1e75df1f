package egress

import (
	"context"
	"crypto/x509"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dynproxy/internal/panics"
)

const (
	idleWithin = time.Minute // how long a link is kept that nobody uses
	idleHost   = 1024        // links kept for one host
	idleAll    = 4096        // and for all
	sweepEvery = time.Second
)

// pool keeps links that are not in use, by host.
type pool struct {
	direct *direct
	idle   atomic.Int64 // links that are kept
	roots  atomic.Pointer[x509.CertPool]

	mu       sync.RWMutex // guards what follows, and comes before a host's
	hosts    map[string]*host
	sweeping bool
}

// host returns the host of that name, with a port or without, locked.
func (p *pool) host(name string) *host {
	for {
		p.mu.RLock()
		h := p.hosts[name]
		p.mu.RUnlock()
		if h == nil {
			h = p.add(name)
		}
		h.mu.Lock()
		if !h.gone {
			return h
		}
		h.mu.Unlock()
	}
}

func (p *pool) add(name string) *host {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hosts[name]; h != nil {
		return h
	}
	if p.hosts == nil {
		p.hosts = make(map[string]*host)
	}
	h := &host{pool: p, name: name, address: addressOf(name)}
	p.hosts[name] = h
	return h
}

// trusted returns the roots of this moment, the same pointer as long as they
// are the same.
func (p *pool) trusted() *x509.CertPool {
	if p.direct.config.Roots == nil {
		return nil
	}
	defer panics.Recover(p.direct.config.Log, "verify", nil)
	for {
		known, now := p.roots.Load(), p.direct.config.Roots()
		if now == known || now != nil && known != nil && now.Equal(known) {
			return known
		}
		if p.roots.CompareAndSwap(known, now) {
			return now
		}
	}
}

// put takes a link whose trip has ended well: for whoever waits for one, or to
// be kept.
func (p *pool) put(l *link) {
	if p.idle.Load() >= idleAll {
		p.evict()
	}
	h := p.host(l.host.name) // the former may have been forgotten meanwhile
	l.host = h
	kept := l.roots == p.roots.Load() && h.give(l)
	h.mu.Unlock()
	if !kept {
		l.close()
		return
	}
	p.sweepSoon()
}

// evict makes room for another link: of any host, the longest unused goes.
func (p *pool) evict() {
	p.mu.RLock()
	var oldest []*link
	for _, h := range p.hosts { // in any order
		first := true
		if oldest = h.drop(func(*link) bool { was := first; first = false; return was }); oldest != nil {
			break
		}
	}
	p.mu.RUnlock()
	for _, l := range oldest {
		l.close()
	}
}

// sweepSoon has the links that are kept looked at.
func (p *pool) sweepSoon() {
	p.mu.RLock()
	sweeping := p.sweeping
	p.mu.RUnlock()
	if sweeping {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.sweeping {
		p.sweeping = true
		time.AfterFunc(sweepEvery, p.sweep)
	}
}

// sweep closes the links that were kept for too long, that the other side has
// closed, and whose authority may be trusted no more. It runs as long as there
// are any.
func (p *pool) sweep() {
	defer panics.Recover(p.direct.config.Log, "sweep of connections", func() { time.AfterFunc(sweepEvery, p.sweep) })
	p.trusted()
	now := time.Now()
	p.close(func(l *link) bool {
		if l.host.lost(l) {
			return true
		}
		return now.Sub(l.rested) > idleWithin || l.roots != p.roots.Load()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, h := range p.hosts {
		if h.forget() {
			delete(p.hosts, name)
		}
	}
	if p.sweeping = p.idle.Load() > 0; p.sweeping {
		time.AfterFunc(sweepEvery, p.sweep)
	}
}

// close closes the links that are kept and unwanted.
func (p *pool) close(unwanted func(*link) bool) {
	p.mu.RLock()
	all := make([]*host, 0, len(p.hosts))
	for _, h := range p.hosts {
		all = append(all, h)
	}
	p.mu.RUnlock()
	for _, h := range all {
		for _, l := range h.drop(unwanted) {
			l.close()
		}
	}
}

// CloseIdleConnections closes what is kept and not in use, and what is being
// made for nobody.
func (p *pool) CloseIdleConnections() {
	p.close(func(*link) bool { return true })
}

// grant is what a waiter gets.
type grant struct {
	link *link
	err  error
}

// waiter waits for a link: the first that comes back or is made.
type waiter struct {
	got    chan grant // of one place
	number int64      // counts a host's waiters
}

// host has the links to one address.
type host struct {
	pool    *pool
	name    string        // as requests say it
	address string        // host:port
	phase   atomic.Uint32 // how far the youngest link came that is being made

	mu      sync.Mutex // guards what follows
	gone    bool       // taken out of the pool
	idle    []*link    // the longest unused first
	waiters []*waiter  // the first first
	arrived int64      // waiters so far
	made    int64      // links so far
	making  int
	stop    context.CancelCauseFunc // of those that are being made; nil for none
	context context.Context
}

// take returns a link: one that is kept, unless fresh is set, or the first
// that comes back or is made. unsafe is set for requests that must not be
// carried out twice. It waits for so long, 0 for ever.
func (h *host) take(ctx context.Context, wait time.Duration, fresh, unsafe bool) (*link, error) {
	var late <-chan time.Time
	for {
		l, w := h.takeIdle(fresh)
		if w != nil {
			if late == nil && wait > 0 {
				timer := time.NewTimer(wait)
				defer timer.Stop()
				late = timer.C
			}
			var err error
			if l, err = h.await(ctx, w, late); err != nil {
				return nil, err
			}
		}
		l.idled = 0
		if l.served || w == nil {
			l.idled = max(1, time.Since(l.rested))
		}
		if l.idled == 0 || h.usable(l, unsafe) {
			l.begin()
			return l, nil
		}
		l.close()
		h.mu.Lock()
	}
}

// usable reports whether a link that was kept can carry a request: it stands,
// is trusted, and the host is not just about to close it.
func (h *host) usable(l *link, unsafe bool) bool {
	if l.roots != h.pool.roots.Load() || unsafe && h.pool.direct.idle.near(h.address, l.idled) {
		return false
	}
	if l.served {
		return !h.lost(l)
	}
	return l.stands()
}

// takeIdle returns a link that is kept, or who will wait for one. It unlocks h.
func (h *host) takeIdle(fresh bool) (*link, *waiter) {
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 && !fresh {
		l := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		h.pool.idle.Add(-1)
		return l, nil
	}
	h.arrived++
	w := &waiter{got: make(chan grant, 1), number: h.arrived}
	h.waiters = append(h.waiters, w)
	h.makeMore()
	return nil, w
}

func (h *host) await(ctx context.Context, w *waiter, late <-chan time.Time) (*link, error) {
	var err error
	select {
	case g := <-w.got:
		return g.link, g.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-late:
		err = phase(h.phase.Load()).late()
	}
	if l := h.withdraw(w); l != nil {
		h.pool.put(l) // it was served at the same moment
	}
	return nil, err
}

// withdraw ends the wait of w, and with the last the making of links for
// nobody. It returns the link that w was given meanwhile.
func (h *host) withdraw(w *waiter) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.waiters, w)
	if i < 0 {
		return (<-w.got).link
	}
	h.waiters = slices.Delete(h.waiters, i, i+1)
	if len(h.waiters) == 0 && h.stop != nil {
		h.stop(errLeft)
		h.stop = nil
	}
	return nil
}

// give hands l to the first waiter, or keeps it. It reports whether it did. h
// is locked.
func (h *host) give(l *link) bool {
	if len(h.waiters) > 0 {
		h.serve(grant{link: l})
		return true
	}
	if len(h.idle) >= idleHost || h.gone || h.pool.idle.Load() >= idleAll {
		return false
	}
	h.idle = append(h.idle, l)
	h.pool.idle.Add(1)
	return true
}

// serve gives g to the first waiter. h is locked.
func (h *host) serve(g grant) {
	h.waiters[0].got <- g
	h.waiters[0] = nil
	h.waiters = h.waiters[1:]
}

// lost reports whether the other side has closed l, which has served, and learns
// when it does.
func (h *host) lost(l *link) bool {
	if !l.served || !l.peek.closed() {
		return false
	}
	h.pool.direct.idle.closedAfter(h.address, max(1, time.Since(l.rested)))
	return true
}

// drop takes the links that are kept and unwanted out.
func (h *host) drop(unwanted func(*link) bool) (dropped []*link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.idle[:0]
	for _, l := range h.idle {
		if unwanted(l) {
			dropped = append(dropped, l)
		} else {
			kept = append(kept, l)
		}
	}
	clear(h.idle[len(kept):])
	h.idle = kept
	h.pool.idle.Add(-int64(len(dropped)))
	return dropped
}

// forget reports whether nothing is left that the host would be needed for.
func (h *host) forget() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = len(h.idle) == 0 && len(h.waiters) == 0 && h.making == 0
	return h.gone
}
