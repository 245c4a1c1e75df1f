package main

import (
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"dynproxy/consent"
	"dynproxy/internal/changes"
	"dynproxy/internal/cluster"
	"dynproxy/internal/door"
	"dynproxy/internal/openapi"
	"dynproxy/internal/panics"
	"dynproxy/internal/past"
	"dynproxy/internal/problem"
	"dynproxy/internal/secret"
	"dynproxy/internal/spool"
	"dynproxy/portal"
)

// ops is the operators' side of the proxy.
type ops struct {
	http.Handler
	server   *server
	door     *door.Password
	draining atomic.Bool
	// outOfService is set by an operator who wants new calls to go elsewhere.
	outOfService atomic.Bool
	consents     *prometheus.CounterVec
}

func newOps(h *server) *ops {
	mux := http.NewServeMux()
	o := &ops{Handler: panics.Handler(h.log, "operators", portal.Guard(mux, func() string { return h.config().OpsPublicURL }), http.HandlerFunc(internalError)), server: h}
	operators := &door.Password{Want: o.password, Log: h.log}
	o.door = operators
	asked := openapi.NewDoor()
	behind := func(next http.Handler) http.Handler { return operators.Before(asked.Before(next)) }
	o.consents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dynproxy_consents_total", Help: "Answers of Entra ID to administrators who were asked for consent, by outcome.",
	}, []string{"outcome"})
	for _, outcome := range consent.Outcomes() {
		o.consents.WithLabelValues(string(outcome))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", o.ready)
	mux.Handle("GET /metrics", operators.Before(promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})))
	mux.Handle("GET /api/openapi.json", behind(openapi.Handler()))
	mux.Handle("GET /api/cluster", behind(h.cluster))
	mux.Handle("POST /api/explain", behind(http.HandlerFunc(h.explain)))
	// Administrators of tenants come without the operators' password. What
	// their pages show is for whoever has the signed link.
	pages := consent.New(consent.Options{
		Keys: func() []consent.Key { return *h.keys.Load() }, Once: h.once(), Backend: consentBackend{h.app, h.board, h.past.Notices, func(tenant string) { h.tellOthers(newsGranted, tenant) }}, Base: func() string { return h.config().opsURL() },
		Strangers: func() bool { return !h.config().guarded() },
		Publisher: func() consent.Publisher { return h.config().publisher() },
		Told:      func(outcome consent.Outcome) { o.consents.WithLabelValues(string(outcome)).Inc() },
	})
	mux.Handle("/consent", pages)
	mux.Handle("/consent/", pages)
	for pattern, file := range portal.Files() {
		mux.Handle(pattern, file)
	}
	mux.Handle("GET /help/{code}", portal.Help()) // which callers follow too
	api := &changes.API{Editor: h.newEditor(), Guarded: func() bool { return h.config().guarded() }, Who: operator, Recent: h.fleet.Audit}
	for pattern, handler := range api.Routes() {
		mux.Handle(pattern, behind(handler))
	}
	mux.Handle("/", behind(portal.New(portalSource{h.fleet, h}, h.fleet.AllCalls(), h.operations())))
	return o
}

// internalError answers in the place of a page that a fault of ours has
// stopped.
func internalError(w http.ResponseWriter, _ *http.Request) {
	clear(w.Header())
	problem.New(problem.Internal, "A fault of the proxy itself; its log says where.").Answer(w)
}

// readiness is what /readyz says.
type readiness struct {
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason,omitempty"`
	Tenants int    `json:"tenants"`
	Faults  int    `json:"faults"` // tenants whose settings cannot be used

	Spool    spool.State   `json:"spool"`
	StateDir past.State    `json:"state_dir"`
	Redis    cluster.State `json:"redis"`

	TenantsDir string `json:"tenants_dir,omitempty"` // why it cannot be read; what was read stays in force
	CallersDir string `json:"callers_dir,omitempty"`
}

func (o *ops) ready(w http.ResponseWriter, r *http.Request) {
	state := readiness{Tenants: o.server.book.Len(), Faults: len(o.server.book.Faults()), Spool: o.server.spool.State(), StateDir: o.server.past.State(), Redis: o.server.cluster.State()}
	if err := o.server.book.DirectoryFault(); err != nil {
		state.TenantsDir = err.Error()
	}
	if err := o.server.callers.DirectoryFault(); err != nil {
		state.CallersDir = err.Error()
	}
	switch {
	case o.draining.Load():
		state.Reason = "draining"
	case o.outOfService.Load():
		state.Reason = "an operator has taken this proxy out of service"
	case state.Tenants == 0:
		state.Reason = "there is no tenant"
	case !o.server.board.AnyServed(r.Context()):
		state.Reason = "no tenant can get a token"
	default:
		state.Ready = true
	}
	status := http.StatusOK
	if !state.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, state)
}

func (o *ops) password() (secret.Text, error) {
	cfg := o.server.config()
	if file := cfg.OpsPasswordFile; file != "" {
		return secret.ReadFile(file)
	}
	return cfg.OpsPassword, nil
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
