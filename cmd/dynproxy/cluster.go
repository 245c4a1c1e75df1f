package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/consent"
	"dynproxy/internal/callers"
	"dynproxy/internal/cluster"
	"dynproxy/internal/entra"
	"dynproxy/internal/sealed"
	"dynproxy/internal/secret"
)

// shareBudgets makes the budgets those of all proxies.
func (h *server) shareBudgets() {
	if h.cluster.On() {
		h.gate.Store = h.cluster.Budgets()
		h.cluster.Missed(h.gate.Retell)
	}
}

// keepSize notes how many proxies there are, for a start without Redis.
func (h *server) keepSize() {
	if err := h.cluster.Keep(); err != nil { // STATE_DIR says so itself
		h.log.Debug().AnErr("reason", err).Msg("how many proxies there are cannot be kept")
	}
}

// sharedRates makes the rate of each caller one for all proxies.
func (h *server) sharedRates() callers.Rates {
	if !h.cluster.On() {
		return nil
	}
	return h.cluster.Rates()
}

// openCluster opens the way to the other proxies, as one of them if this
// process serves. A Redis that cannot be used is no fault: the proxy starts
// alone.
func openCluster(cfg *config, roots func() *x509.CertPool, log zerolog.Logger, serves bool) *cluster.Client {
	options := cluster.Options{URL: cfg.RedisURL, Prefix: cfg.RedisPrefix, Roots: roots, Version: release, Log: log, Observer: !serves}
	if cfg.StateDir != "" && serves {
		options.Remember = filepath.Join(cfg.StateDir, "members.json")
	}
	c, err := cluster.Open(options)
	if err != nil { // told with the settings' faults, for which what the files hold is looked at too
		options.URL = secret.Text{}
		c, _ = cluster.Open(options)
	}
	c.Join(context.Background()) // what the others know may be wanted at once
	return c
}

// tokenShelf is where proxies share tokens. A command that checks a credential
// asks for a token of its own.
func (a *app) tokenShelf(serves bool) entra.Shelf {
	if shelf := a.cluster.Shelf("token"); shelf != nil && serves {
		return shelf
	}
	return nil
}

// openVault opens what only proxies of the same credential can read, and
// agrees with them on the key of links.
func (a *app) openVault() {
	a.vault = a.cluster.NewVault(a.sealingKeys)
	a.agree(context.Background())
}

// sealingKeys follow from the app's credential, and from LINK_KEY_FILE where
// that is the only secret that proxies have in common.
func (a *app) sealingKeys() []sealed.Key {
	keys := a.tokens.SealingKeys()
	if file := a.config().LinkKeyFile; file != "" && len(keys) == 0 {
		if text, err := secret.ReadFile(file); err == nil {
			keys = append(keys, sealed.NewKey([]byte(text.Reveal()), "link key"))
		}
	}
	return keys
}

// agree opens the vault with the credentials in force. The key of links is that
// of all proxies, unless a file names one; what this proxy has signed before it
// knew that stays good.
func (a *app) agree(ctx context.Context) {
	if a.cluster.State().State != cluster.Shared {
		return
	}
	fault := a.vault.Open(ctx)
	if fault == nil && a.config().LinkKeyFile == "" {
		own := a.linkKey()
		var all []byte
		if all, fault = a.vault.Agree(ctx, "link key", own[:]); fault == nil && !bytes.Equal(all, own[:]) && len(all) == len(own) {
			a.keys.Store(&[]consent.Key{consent.Key(all), own})
			a.lasting = true
		}
	}
	said := ""
	if fault != nil {
		said = fault.Error()
	}
	if before := a.unshared.Swap(&said); said != "" && (before == nil || *before != said) {
		a.log.Warn().Str("reason", said).Msg("this proxy shares neither tokens nor links with the others")
	}
}

// once uses up a state of consent for all proxies; nil without others.
func (h *server) once() func(context.Context, string, time.Duration) (bool, error) {
	if !h.cluster.On() {
		return nil
	}
	return func(ctx context.Context, digest string, life time.Duration) (bool, error) {
		return h.cluster.Once(ctx, "consent", digest, life)
	}
}

// What proxies tell each other.
const (
	newsGranted = "granted" // a tenant's name: its administrator has granted access
	newsBook    = "book"    // tenants or callers in Redis have changed
	newsState   = "state"   // a tenant's name: a proxy has seen its state turn
)

// hearOthers has this proxy hear the news of the others. missed says that some
// may have been lost.
func (h *server) hearOthers() (missed <-chan struct{}) {
	h.cluster.Hear(newsGranted, func(payload []byte) {
		if name, ok := cluster.Unsealed[string](h.vault, newsGranted, payload); ok {
			h.granted(name)
		}
	})
	h.cluster.Hear(newsState, func(payload []byte) {
		if name, ok := cluster.Unsealed[string](h.vault, newsState, payload); ok {
			h.board.Doubt(name)
		}
	})
	h.vault.Answers(h.fleet.Answer)
	if h.mirror != nil {
		h.cluster.Hear(newsBook, func([]byte) { h.mirror.Wake() })
	}
	lost := make(chan struct{}, 1)
	h.cluster.Missed(func() {
		for t := range h.book.All() {
			h.tokens.Retry(t) // whose consent may have been among the news
		}
		select {
		case lost <- struct{}{}:
		default: // it will look anyway
		}
	})
	return lost
}

// agreeAgain agrees whenever Redis has come back or been emptied, and now and
// then: the credential may be another. It ends with ctx.
func (h *server) agreeAgain(ctx context.Context, missed <-chan struct{}) {
	if !h.cluster.On() {
		return
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var since, agreed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-missed:
			agreed = time.Time{}
		case <-look.C:
		}
		now := h.cluster.State().Since
		if !now.Equal(since) || time.Since(agreed) > agreeEvery {
			since, agreed = now, time.Now()
			h.agree(ctx)
		}
	}
}

const (
	lookEvery  = 500 * time.Millisecond // whether Redis has come back
	agreeEvery = 15 * time.Second
)

// granted forgets that a tenant had no token for want of consent.
func (h *server) granted(name string) {
	if t := h.book.Lookup(name); t != nil {
		h.tokens.Retry(t)
		h.board.Judge(name)
	}
}

// tellOthers tells the other proxies something of a tenant.
func (h *server) tellOthers(news, tenant string) {
	if h.cluster.State().State == cluster.Shared {
		if err := h.vault.TellSealed(context.Background(), news, tenant); err != nil {
			h.log.Debug().Str("news", news).Str("tenant", tenant).AnErr("reason", err).Msg("the other proxies are not told")
		}
	}
}
