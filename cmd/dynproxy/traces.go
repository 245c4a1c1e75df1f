package main

import (
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/envfile"
	"dynproxy/internal/tracing"
)

// lastSpans is how long the end waits for the collector of traces.
const lastSpans = 3 * time.Second

// openTracer returns nil where calls are not traced. a is nil where it could not
// be built.
func openTracer(cfg *config, a *app, log zerolog.Logger, faults *envfile.Faults) *tracing.Tracer {
	o := tracing.Options{Environ: cfg.environ, Version: release, Proxy: cfg.proxy, Log: log}
	if a != nil {
		o.Roots = a.out.roots
	}
	tracer, err := tracing.New(o)
	faults.Take(err)
	return tracer
}
