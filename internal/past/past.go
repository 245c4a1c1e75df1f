// Package past is what a proxy knows of the past: how tenants were, who called
// what, how that went, and who is still to be told of something. It survives a
// restart where STATE_DIR is set.
package past

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/history"
	"dynproxy/internal/notify"
	"dynproxy/internal/secret"
	"dynproxy/internal/statedir"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
)

// keepEvery bounds what a kill costs: what was counted in that time.
const keepEvery = 2 * time.Second

// Past is all of it.
type Past struct {
	States  *history.History
	Usage   *usage.Usage
	Trend   *trend.Trend
	Notices *notify.Notifier

	dir *statedir.Dir
	log zerolog.Logger
}

// Open reads what was kept in dir, "" for nowhere. Notices go to url, by way of
// out.
func Open(dir string, url secret.Text, out http.RoundTripper, log zerolog.Logger) *Past {
	d := statedir.Open(dir)
	return &Past{States: history.Open(d), Usage: usage.Open(d), Trend: trend.Open(d), Notices: notify.Open(d, url, out, log), dir: d, log: log}
}

// Close ends the keeping.
func (p *Past) Close() {
	p.Usage.Close()
	p.Trend.Close()
	p.States.Close()
	p.Notices.Close()
	p.dir.Close()
}

// Keep writes what there is to be kept, until ctx ends, and tells when that
// cannot be. look is called before each time.
func (p *Past) Keep(ctx context.Context, look func()) {
	every := time.NewTicker(keepEvery)
	defer every.Stop()
	told := ""
	for {
		if fault := p.dir.Fault(); fault != nil && fault.Error() != told {
			told = fault.Error()
			p.log.Warn().Str("setting", "DYNPROXY_STATE_DIR").Str("fault", told).
				Msg("what shall survive a restart cannot be written, and is kept in memory; calls go on")
		} else if fault == nil && told != "" {
			told = ""
			p.log.Info().Str("setting", "DYNPROXY_STATE_DIR").Msg("what shall survive a restart is written again")
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		look()
		p.dir.Touch()
		p.States.Keep()
		p.Usage.Keep()
		p.Trend.Keep()
		p.Notices.Keep()
	}
}

// Retain forgets tenants that are gone. How they were is forgotten by who notes
// it.
func (p *Past) Retain(there func(tenant string) bool) {
	p.Usage.Retain(there)
	p.Trend.Retain(there)
	p.Notices.Retain(there)
}

// State is what /readyz says of STATE_DIR.
type State struct {
	State string `json:"state"` // kept, fault or off
	Fault string `json:"fault,omitempty"`
}

// State is how the keeping is.
func (p *Past) State() State {
	if fault := p.dir.Fault(); fault != nil {
		return State{"fault", fault.Error()}
	}
	if !p.dir.Kept() {
		return State{State: "off"}
	}
	return State{State: "kept"}
}
