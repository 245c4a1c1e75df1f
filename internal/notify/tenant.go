package notify

import "time"

const (
	// settle is how long a tenant is in a state before that is told: one call's
	// mishap, which a check has put right by then, is not.
	settle = 1500 * time.Millisecond
	// window is the time within which a tenant that breaks again is told of once,
	// with a count.
	window = 10 * time.Minute
	// often is how often one must break unnoticed within a window to be told of.
	often = 3
)

// tenant is what was told of one tenant, and what there is to tell.
type tenant struct {
	broken   bool
	since    time.Time // of what it is now
	last     Notice    // of its last break
	breaks   int       // that are not told
	first    time.Time // of those
	told     bool      // whether it was said to be broken, when it was last told of
	toldAt   time.Time
	brokeAt  time.Time // when a break was last told of
	flapping bool      // whether the last message was of several breaks
}

// TenantIs notes what a tenant is now: broken, with what is behind it, or well.
func (n *Notifier) TenantIs(broken bool, news Notice) {
	n.mu.Lock()
	if n.tenants[news.Tenant] == nil && !broken {
		n.mu.Unlock()
		return // as nearly all of many are, all the time
	}
	t := n.of(news.Tenant)
	if t.broken != broken {
		t.broken, t.since = broken, news.At
		t.flapping = t.flapping && !news.At.After(t.brokeAt.Add(window))
		if broken {
			if t.breaks == 0 {
				t.first = news.At
			}
			t.breaks++
		}
	}
	if broken {
		t.last = news
	}
	n.mu.Unlock()
	n.wake()
}

// of returns the tenant called name. n.mu is held.
func (n *Notifier) of(name string) *tenant {
	if n.tenants[name] == nil {
		n.tenants[name] = new(tenant)
	}
	return n.tenants[name]
}

// due is when there will be something to tell, the zero Time for never as
// things are.
func (t *tenant) due() time.Time {
	settled := t.since.Add(settle)
	calm := t.brokeAt.Add(window)
	switch {
	case t.flapping, t.broken && !t.told && !t.brokeAt.IsZero():
		if t.breaks == 0 && t.broken == t.told {
			return time.Time{}
		}
		return later(settled, calm)
	case t.broken != t.told:
		return settled
	case t.breaks >= often:
		return later(settled, t.first.Add(window))
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// notice is what is to be told now, if anything is.
func (t *tenant) notice(name string, now time.Time) (Notice, bool) {
	if due := t.due(); due.IsZero() || due.After(now) {
		// What was over before anybody could have been told is forgotten in time.
		if !t.broken && !t.told && t.breaks < often && now.Sub(t.first) > window {
			t.breaks = 0
		}
		return Notice{}, false
	}
	news := t.last
	news.Tenant, news.At, news.IsOut = name, t.since, t.broken
	switch {
	case t.breaks > 1 || t.flapping && t.breaks > 0:
		news.Kind, news.Count = Flapping, t.breaks
	case t.broken:
		news.Kind = Broken
	default:
		news = Notice{Kind: Recovered, Tenant: name, At: t.since}
	}
	return news, true
}

// isTold notes that news were told. What has happened in the meantime is news
// still.
func (t *tenant) isTold(news Notice, now time.Time) {
	t.told, t.toldAt = news.IsOut, now
	t.flapping = news.Kind == Flapping
	if news.Kind == Recovered {
		return
	}
	t.brokeAt = now
	t.breaks -= max(1, news.Count)
	if t.breaks > 0 {
		t.first = now
	}
	t.breaks = max(0, t.breaks)
}
