package main

import (
	"context"
	"crypto/x509"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/envfile"
)

// shareBudgets makes the budgets those of all proxies.
func (h *server) shareBudgets() {
	if h.cluster.On() {
		h.gate.Store = h.cluster.Budgets()
		h.cluster.Missed(h.gate.Retell)
	}
}

// openCluster opens this proxy's place among others. A Redis that cannot be
// used is no fault: the proxy starts alone.
func openCluster(cfg *config, a *app, log zerolog.Logger, faults *envfile.Faults) *cluster.Client {
	var roots func() *x509.CertPool
	if a != nil {
		roots = a.out.roots
	}
	c, err := cluster.Open(cluster.Options{URL: cfg.RedisURL, Prefix: cfg.RedisPrefix, Roots: roots, Version: release, Log: log})
	if err != nil {
		faults.Add(prefix+"REDIS_URL", "%v", err)
		return nil
	}
	c.Join(context.Background()) // what the others know may be wanted at once
	return c
}
