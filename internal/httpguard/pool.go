package httpguard

import (
	"net/netip"
	"sync"
)

// pool shares a bounded good (connections, bytes) among addresses. Where it is
// used up, of the address that holds most the place that has waited longest is
// given up: many silent connections of one address make room for each other
// before anybody else has to.
type pool struct {
	mu sync.Mutex // guards what follows and every place

	limit, perAddress int // 0 for none

	used   int
	shares map[netip.Addr]*share
}

// share is what one address has of a pool. Its waiting places stand in a ring,
// the oldest first.
type share struct {
	used    int
	waiting place // the ring's head
	places  int
}

// place is what one session has of a pool. The zero value has nothing.
type place struct {
	owner      *session
	size       int
	in, gone   bool
	prev, next *place // in the ring of those that may be given up
}

// lookAt bounds the search for the address that holds most: where there are
// more, these are a random choice.
const lookAt = 1000

func (p *pool) bound(limit, perAddress int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.perAddress = limit, perAddress
}

func newPool(limit, perAddress int) *pool {
	return &pool{limit: limit, perAddress: perAddress, shares: make(map[netip.Addr]*share)}
}

// take gives n more to pl, which waits from now on, and gives up others where
// there is no room. It reports whether there was room; a place that was given
// up gets none.
func (p *pool) take(pl *place, owner *session, n int) bool {
	p.mu.Lock()
	if pl.gone {
		p.mu.Unlock()
		return false
	}
	own := p.shares[owner.addr]
	if own == nil {
		own = &share{}
		own.waiting.prev, own.waiting.next = &own.waiting, &own.waiting
		p.shares[owner.addr] = own
	}
	if !pl.in {
		pl.owner, pl.in = owner, true
		own.places++
	}
	own.wait(pl)
	var out *place // those given up, chained by next
	for p.perAddress > 0 && own.used+n > p.perAddress || p.limit > 0 && p.used+n > p.limit {
		from := own
		if p.perAddress == 0 || own.used+n <= p.perAddress {
			from = p.heaviest(pl)
		}
		victim := from.oldest(pl)
		if victim == nil {
			break
		}
		p.remove(victim)
		victim.gone = true
		victim.next, out = out, victim
	}
	ok := (p.limit == 0 || p.used+n <= p.limit) && (p.perAddress == 0 || own.used+n <= p.perAddress)
	if ok {
		pl.size += n
		own.used += n
		p.used += n
	} else if pl.size == 0 {
		p.remove(pl)
	}
	p.mu.Unlock()
	for out != nil {
		victim := out
		out, victim.next = victim.next, nil
		victim.owner.giveUp()
	}
	return ok
}

// heaviest returns the share with most of the pool among those that have a
// place to give up other than not; nil if there is none.
func (p *pool) heaviest(not *place) *share {
	var most *share
	looked := 0
	for _, s := range p.shares {
		if s.oldest(not) != nil && (most == nil || s.used > most.used) {
			most = s
		}
		if looked++; looked == lookAt && most != nil {
			break
		}
	}
	return most
}

func (s *share) oldest(not *place) *place {
	if s == nil {
		return nil
	}
	first := s.waiting.next
	if first == not {
		first = first.next
	}
	if first == &s.waiting {
		return nil
	}
	return first
}

// wait puts pl at the end of those that may be given up.
func (s *share) wait(pl *place) {
	pl.unlist()
	last := s.waiting.prev
	pl.prev, pl.next = last, &s.waiting
	last.next, s.waiting.prev = pl, pl
}

func (pl *place) unlist() {
	if pl.next != nil {
		pl.prev.next, pl.next.prev = pl.next, pl.prev
		pl.prev, pl.next = nil, nil
	}
}

// wait says that pl may be given up from now on, after those that wait
// already.
func (p *pool) wait(pl *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.in {
		p.shares[pl.owner.addr].wait(pl)
	}
}

// busy says that pl may not be given up.
func (p *pool) busy(pl *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.in {
		pl.unlist()
	}
}

// leave takes all that pl has. It may come back.
func (p *pool) leave(pl *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(pl)
}

func (p *pool) remove(pl *place) {
	if !pl.in {
		return
	}
	own := p.shares[pl.owner.addr]
	pl.unlist()
	own.used -= pl.size
	p.used -= pl.size
	pl.size, pl.in = 0, false
	if own.places--; own.places == 0 {
		delete(p.shares, pl.owner.addr)
	}
}

// makeRoom gives one place up, if there is one that waits.
func (p *pool) makeRoom() {
	p.mu.Lock()
	victim := p.heaviest(nil).oldest(nil)
	if victim != nil {
		p.remove(victim)
		victim.gone = true
	}
	p.mu.Unlock()
	if victim != nil {
		victim.owner.giveUp()
	}
}

func (p *pool) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// waiting returns the sessions whose places may be given up.
func (p *pool) waiting() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*session
	for _, own := range p.shares {
		for pl := own.waiting.next; pl != &own.waiting; pl = pl.next {
			all = append(all, pl.owner)
		}
	}
	return all
}
