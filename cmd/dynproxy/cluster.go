package main

import (
	"context"
	"crypto/x509"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/entra"
)

// shareBudgets makes the budgets those of all proxies.
func (h *server) shareBudgets() {
	if h.cluster.On() {
		h.gate.Store = h.cluster.Budgets()
		h.cluster.Missed(h.gate.Retell)
	}
}

// openCluster opens the way to the other proxies, as one of them if this
// process serves. A Redis that cannot be used is no fault: the proxy starts
// alone.
func openCluster(cfg *config, roots func() *x509.CertPool, log zerolog.Logger, serves bool) *cluster.Client {
	c, err := cluster.Open(cluster.Options{
		URL: cfg.RedisURL, Prefix: cfg.RedisPrefix, Roots: roots, Version: release, Log: log, Observer: !serves,
	})
	if err != nil {
		panic(err) // the URL was judged with the settings
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
