package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/calls"
	"dynproxy/internal/changes"
	"dynproxy/internal/daemon"
	"dynproxy/internal/door"
	"dynproxy/internal/envfile"
	"dynproxy/internal/eventlog"
	"dynproxy/internal/fleet"
	"dynproxy/internal/kerberos"
	"dynproxy/internal/limits"
	"dynproxy/internal/logqueue"
	"dynproxy/internal/machine"
	"dynproxy/internal/panics"
	"dynproxy/internal/past"
	"dynproxy/internal/problem"
	"dynproxy/internal/service"
	"dynproxy/internal/spool"
	"dynproxy/internal/status"
	"dynproxy/internal/tracing"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

func (w *cli) serve() *cobra.Command {
	var asService bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the proxy until SIGINT or SIGTERM",
		RunE: func(c *cobra.Command, _ []string) error {
			if asService {
				return service.Run(c.Context(), w.serveManaged)
			}
			return w.serveHere(c.Context(), nil)
		},
	}
	c.Flags().BoolVar(&asService, "service", false, "talk to Windows' service manager, which has started this process")
	c.Flags().MarkHidden("service")
	return c
}

// serveHere is all of the proxy's life. manager is nil where nobody manages it.
func (w *cli) serveHere(ctx context.Context, manager *service.Host) error {
	in, err := w.inherit()
	if err != nil {
		return err
	}
	w.keptBySystemd()
	cfg, err := w.config()
	if err != nil {
		return withFiles(err, cfg)
	}
	ignoreBrokenPipes()
	if os.Getenv("GOGC") == "" {
		defer machine.CollectByHeadroom(uint64(cfg.GCHeadroom))()
	}
	out, end := logOutput(cfg, w.stdout, w.stderr)
	defer end()
	lines := logqueue.New(out, logqueue.DefaultSize)
	defer lines.Close(lastLines)
	again, stop := newReloader(w.environment, w.sources)
	defer stop()
	again.manager = manager
	return serve(ctx, cfg, in, again, newLog(cfg, out, lines), lines)
}

// lastLines is how long the end waits for the log's reader.
const lastLines = 2 * time.Second

// ignoreBrokenPipes lets a write to a pipe that nobody reads fail like any
// other: who serves does not end because its log's reader has.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }

// server is the proxy, built and not yet open.
type server struct {
	*app
	guards  *guards
	callers *callers.Book
	keytab  *kerberos.Acceptor // nil without a keytab
	gate    *limits.Gate
	spool   *spool.Place
	calls   *proxy.Handler
	metrics *proxy.Metrics
	tracer  *tracing.Tracer // nil where calls are not traced
	board   *status.Board
	past    *past.Past
	events  eventlog.Log
	ops     *ops
	audit   *audit.Log
	names   []string // of this machine

	remembered *calls.Ring
	fleet      *fleet.Fleet

	again    *reloader                              // nil where settings are read once
	opsHosts atomic.Pointer[func(host string) bool] // names of the operators' side
	reloaded atomic.Pointer[reloaded]               // the last time that settings were read again; nil for never

	telling sync.Mutex // held while others are told of changed tenants
}

// newServer wires the proxy together. What it starts ends with close.
func newServer(cfg *config, log zerolog.Logger, lines *logqueue.Queue) (*server, error) {
	var faults envfile.Faults
	cfg.checkPassword(&faults)
	cfg.checkLogFile(&faults)
	listeners := &guards{}
	listeners.openTLS(cfg, &faults)
	a, err := newApp(cfg, log, true)
	known, acceptor := openCallers(cfg, &faults)
	tracer := openTracer(cfg, a, log, &faults)
	if err = faults.Take(err); err == nil && len(faults) > 0 {
		err = faults
	}
	if err != nil {
		if a != nil {
			a.close()
		}
		tracer.Close(context.Background()) // which has nothing to send
		return nil, err
	}
	h := &server{app: a, guards: listeners, callers: known, keytab: acceptor, gate: &limits.Gate{Log: log}, spool: &spool.Place{Dir: cfg.SpoolDir, Max: int64(cfg.SpoolMax)}, metrics: proxy.NewMetrics(a.registry), remembered: calls.NewRing(), tracer: tracer}
	h.events.Log = log
	h.shareBudgets()
	h.past = openPast(a)
	h.board = h.newBoard()
	h.names = machine.Names()
	h.calls = proxy.New(proxy.Parts{
		Tenants: a.book, Callers: known, Tokens: a.tokens, Gate: h.gate, Rates: h.sharedRates(), Spool: h.spool, Wire: a.out.organizations,
		Access: h.access(cfg),
		Log:    log, Metrics: h.metrics, Tracer: tracer, OnCallDone: h.callDone,
		Help: func(code problem.Code) string { return code.Help(h.config().opsURL()) },
	})
	h.audit = &audit.Log{Dir: cfg.StateDir, Log: log}
	h.fleet = &fleet.Fleet{
		Board: h.board, Remembered: h.remembered, Counted: h.past.Usage, Recorded: h.audit, Entitlement: h.entitlement,
		Dir: cfg.StateDir, Others: h.cluster, Vault: h.vault, Log: log,
	}
	h.ops = newOps(h)
	h.registerMetrics(lines)
	h.openDoors()
	h.warnOfLogo()
	return h, nil
}

// access is who may call, and how, by cfg.
func (h *server) access(cfg *config) proxy.AccessPolicy {
	return proxy.AccessPolicy{
		PublicURL: cfg.PublicURL, Addresses: cfg.addresses, HostAllowed: door.Hosts(h.names, cfg.AllowedHosts, cfg.PublicURL), Vouched: h.guards.authorities.Vouched,
		Names: h.allNames(cfg), Ports: []string{portOf(cfg.Listen)},
		BodyIdle: cfg.BodyIdle, AnswerIdle: cfg.AnswerIdle, MinRate: int(cfg.MinRate),
	}
}

// allNames are those of this machine and those that are allowed, without ports.
func (h *server) allNames(cfg *config) []string {
	names := append(slices.Clone(h.names), machine.Addresses()...)
	allowed := slices.DeleteFunc(door.Names(cfg.AllowedHosts), func(name string) bool { return strings.HasPrefix(name, "*") })
	return append(names, allowed...)
}

func (h *server) close() {
	h.gate.Leave()
	h.audit.Close()
	h.board.Close()
	h.past.Close()
	h.app.close()
	within, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	h.tracer.Close(within)
}

// run serves those who come in by in until ctx ends, and then to the end of
// what is in flight.
func (h *server) run(ctx context.Context, in *entrances) error {
	log := h.log
	// What was left to the system is known now, and goes into links.
	known := *h.config()
	known.Listen, known.OpsListen = in.callers.Addr().String(), in.operators.Addr().String()
	h.inForce.Store(&known)
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stopWatching()
	keep := func(what string, f func()) { watchers.Go(func() { panics.Keep(watching, log, what, f) }) }
	keep("watch tenants", func() { h.book.Watch(watching, h.tenantsFound, directoryFault(log, "TENANTS_DIR")) })
	keep("watch callers", func() { h.callers.Watch(watching, h.callersFound, directoryFault(log, "CALLERS_DIR")) })
	keep("watch credentials", func() { h.tokens.Watch(watching) })
	missed := h.hearOthers()
	keep("several machines", func() { h.cluster.Run(watching) })
	keep("what several machines agree on", func() { h.agreeAgain(watching, missed) })
	if h.mirror != nil {
		h.mirror.Changed = h.bookTaken
		keep("tenants and callers in Redis", func() { h.mirror.Run(watching) })
	}
	keep("watch roots", func() { h.out.watch(watching) })
	if h.keytab != nil {
		keep("watch keytab", func() { h.keytab.Watch(watching, fileChanged(log, "KEYTAB_FILE")) })
	}
	keep("sweep", func() { h.sweep(watching) })
	keep("settle at rest", func() { machine.SettleAtRest(watching) })
	h.followStates(watching, keep)
	for name, fault := range h.book.Faults() {
		logFault(log, "tenant", name, fault)
	}
	for name, fault := range h.callers.Faults() {
		logFault(log, "caller", name, fault)
	}
	h.spool.Clean()
	if err := h.spool.Check(); err != nil {
		log.Warn().Str("dir", h.spool.Path()).Str("fault", err.Error()).
			Msg("bodies larger than 1 MiB cannot be kept: they go once, and batches of that size are refused; make room or correct " + prefix + "SPOOL_DIR")
	}
	h.tellUnknown(h.config())
	h.tellExposed()

	h.guard(in.callers, in.operators)
	for _, watch := range h.guards.watch {
		keep("watch certificates", func() { watch(watching, log) })
	}
	if h.again != nil {
		keep("follow settings", func() { h.followSettings(watching, h.again) })
	}
	look := newSelfLook(h)
	keep("watchdog", func() { daemon.Watchdog(watching, look.alive, look.starved) })
	return h.open(ctx, look, in)
}

// openCallers opens the book of callers, and Kerberos where it is set.
func openCallers(cfg *config, faults *envfile.Faults) (*callers.Book, *kerberos.Acceptor) {
	known, err := callers.Open(cfg.CallersDir)
	if err != nil {
		faults.Add(prefix+"CALLERS_DIR", "cannot be used: %v", err)
	}
	if cfg.KeytabFile == "" {
		return known, nil
	}
	acceptor, err := kerberos.Open(cfg.KeytabFile, cfg.ServicePrincipal)
	if err != nil {
		faults.Add(prefix+"KEYTAB_FILE", "cannot be used: %v", err)
	} else if known != nil {
		known.Negotiate = acceptor.Accept
	}
	return known, acceptor
}

// tenantsFound is told what has changed in the directory of tenants.
func (h *server) tenantsFound(found []tenants.Change) {
	h.tenantsChanged(found)
	if h.mirror != nil {
		return // whoever made the change has told of it
	}
	notice(h.audit, changes.Tenant, h.config().TenantsDir, found)
}

func (h *server) callersFound(found []callers.Change) {
	h.callersChanged(found)
	if h.mirror != nil {
		return // likewise
	}
	notice(h.audit, changes.Caller, h.config().CallersDir, found)
}

// tenantsChanged forgets what was known of tenants that changed or went.
func (h *server) tenantsChanged(changes []tenants.Change) {
	h.telling.Lock()
	defer h.telling.Unlock()
	for _, c := range changes {
		h.board.Judge(c.Name)
		switch {
		case c.Fault != nil:
			logFault(h.log, "tenant", c.Name, c.Fault)
			continue
		case c.Old == nil && c.New == nil:
			continue
		}
		if c.Old != nil {
			h.tokens.Changed(c.Old, c.New)
			h.board.Forget(c.Name)
		}
		h.log.Info().Str("tenant", c.Name).Bool("added", c.Old == nil).Bool("removed", c.New == nil).Msg("tenant changed")
	}
	h.keepMetrics()
	daemon.Status(h.summary())
	h.retain()
	h.tokens.Sweep(h.book.All())
	h.calls.TenantsChanged()
}

func (h *server) callersChanged(changes []callers.Change) {
	for _, c := range changes {
		if c.Fault != nil {
			logFault(h.log, "caller", c.Name, c.Fault)
			continue
		}
		h.log.Info().Str("caller", c.Name).Bool("added", c.Old == nil).Bool("removed", c.New == nil).Msg("caller changed")
	}
	h.keepMetrics()
}

// directoryFault tells when the directory of a setting cannot be read, and when
// it can again.
func directoryFault(log zerolog.Logger, setting string) func(error) {
	return func(err error) {
		if err == nil {
			log.Info().Str("setting", prefix+setting).Msg("the directory can be read again")
			return
		}
		log.Error().Str("setting", prefix+setting).AnErr("reason", err).
			Msg("the directory cannot be read; everything stays as it was")
	}
}

// logFault tells of a tenant or caller whose file is wrong.
func logFault(log zerolog.Logger, kind, name string, fault error) {
	log.Error().Str(kind, name).Str("fault", strings.ReplaceAll(fault.Error(), "\n", "; ")).
		Msg("these settings cannot be used; what they are for stays as it was")
}
