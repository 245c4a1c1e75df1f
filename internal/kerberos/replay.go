package kerberos

import (
	"crypto/sha256"
	"sync"
	"time"
)

// replays remembers the authenticators that were accepted for as long as they
// could be accepted again. Only holders of valid tickets get in, so its size
// is what they can send in that time. The zero value has seen none.
type replays struct {
	mu    sync.Mutex // guards all below
	seen  map[[sha256.Size]byte]time.Time
	swept time.Time
}

// first reports whether authenticator comes for the first time.
func (r *replays) first(authenticator []byte, now time.Time) bool {
	mark := sha256.Sum256(authenticator)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.seen[mark]; again {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[[sha256.Size]byte]time.Time)
	}
	if now.Sub(r.swept) > time.Minute {
		r.swept = now
		for old, at := range r.seen {
			if now.Sub(at) > 2*maxSkew { // from maxSkew before our clock to maxSkew behind it
				delete(r.seen, old)
			}
		}
	}
	r.seen[mark] = now
	return true
}
