package consent

import (
	"context"
	"sync"
	"time"

	"dynproxy/internal/problem"
)

// proof is what the last token request of a tenant showed. Whoever asks
// meanwhile, and soon after, hears the same: pages that are opened a thousand
// times cost one.
type proof struct {
	mu      sync.Mutex // guards what follows; held while a token is asked for
	at      time.Time
	problem problem.Code
	claimed bool // whether somebody says to have granted access, and that is not proven yet
}

const (
	proofAge    = 2 * time.Second
	proofWithin = 30 * time.Second
)

func (p *Pages) prove(ctx context.Context, tenant string) problem.Code {
	v, _ := p.proofs.LoadOrStore(tenant, &proof{}) // of tenants that we have signed for
	last := v.(*proof)
	last.mu.Lock()
	defer last.mu.Unlock()
	if last.at.IsZero() || time.Since(last.at) >= proofAge {
		// Whoever asked first may leave, and the rest still wait.
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), proofWithin)
		defer cancel()
		last.problem, last.at = p.Backend.Prove(within, tenant), time.Now()
	}
	if last.claimed && last.problem == "" {
		last.claimed = false
		p.Backend.Granted(tenant)
	}
	return last.problem
}

// claim notes that somebody says to have granted access.
func (p *Pages) claim(tenant string) {
	v, _ := p.proofs.LoadOrStore(tenant, &proof{})
	last := v.(*proof)
	last.mu.Lock()
	defer last.mu.Unlock()
	last.claimed = true
}
