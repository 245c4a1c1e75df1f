package egress

import (
	"maps"
	"sync"
	"time"
)

// idleLimits learns after what idle time a host closes its connections, so
// that requests do not cross with that. The zero value knows nothing.
type idleLimits struct {
	mu     sync.Mutex // guards what follows
	hosts  map[string]idleLimit
	pruned time.Time // when those that are forgotten were last taken out
}

type idleLimit struct {
	after time.Duration // the shortest idle time at which the host closed
	until time.Time     // when this is forgotten
}

const (
	idleMemory = time.Minute
	idleHosts  = 10_000 // more are not remembered
)

// closedAfter notes that host closed a connection that was idle for rest.
func (l *idleLimits) closedAfter(host string, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.hosts[host]
	now := time.Now()
	if ok && now.Before(known.until) && known.after <= rest {
		if rest < known.after*5/4 {
			l.hosts[host] = idleLimit{known.after, now.Add(idleMemory)}
		}
		return
	}
	if !ok && len(l.hosts) >= idleHosts && now.Sub(l.pruned) >= idleMemory {
		l.pruned = now
		maps.DeleteFunc(l.hosts, func(_ string, of idleLimit) bool { return now.After(of.until) })
	}
	if !ok && len(l.hosts) >= idleHosts {
		return
	}
	if l.hosts == nil {
		l.hosts = make(map[string]idleLimit)
	}
	l.hosts[host] = idleLimit{rest, now.Add(idleMemory)}
}

// near reports whether host may be closing a connection that is idle for rest
// just now: from four fifths of what it was seen to allow. It is asked for
// requests that must not be carried out twice; the others go on trying.
func (l *idleLimits) near(host string, rest time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.hosts[host]
	return ok && rest >= known.after*4/5 && time.Now().Before(known.until)
}

// survived notes that a connection to host answered a request after it was idle
// for rest, 0 for not at all. A host that closed others sooner did so for
// another reason than their idle time.
func (l *idleLimits) survived(host string, rest time.Duration) {
	if rest == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.hosts[host]; ok && rest >= known.after {
		delete(l.hosts, host)
	}
}
