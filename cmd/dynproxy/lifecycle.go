package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/daemon"
	"dynproxy/internal/logqueue"
	"dynproxy/internal/service"
)

// entrances are the sockets by which callers and operators come in.
type entrances struct{ callers, operators *daemon.Socket }

// inherit takes the sockets that systemd has opened, FileDescriptorName=listen
// and ops_listen. Their addresses stand in the place of the settings', so that
// they are held to the same rules.
func (w *cli) inherit() (*entrances, error) {
	sockets, err := daemon.Inherited("listen", "ops_listen")
	if err != nil {
		return nil, err
	}
	for i, name := range []string{"LISTEN", "OPS_LISTEN"} {
		if sockets[i] != nil {
			w.environ = append(w.environ, prefix+name+"="+sockets[i].Addr().String())
		}
	}
	return &entrances{sockets[0], sockets[1]}, nil
}

// open opens what was not inherited.
func (in *entrances) open(cfg *config) error {
	for _, one := range []struct {
		socket  **daemon.Socket
		address string
		who     string
		setting string
	}{{&in.callers, cfg.Listen, "callers", "LISTEN"}, {&in.operators, cfg.OpsListen, "operators", "OPS_LISTEN"}} {
		if *one.socket != nil {
			continue
		}
		opened, err := daemon.Listen(one.address, cfg.ReusePort)
		if err != nil {
			return fmt.Errorf("listen for %s (%s%s): %w", one.who, prefix, one.setting, err)
		}
		*one.socket = opened
	}
	return nil
}

func (in *entrances) close() {
	for _, s := range []*daemon.Socket{in.callers, in.operators} {
		if s != nil {
			s.Close()
		}
	}
}

// serve runs the proxy until ctx ends, and then to the end of what is in
// flight.
func serve(ctx context.Context, cfg *config, in *entrances, again *reloader, log zerolog.Logger, lines *logqueue.Queue) error {
	defer in.close()
	// Who comes while tenants are read waits for a moment and gets the right
	// answer. Where another process answers meanwhile, nobody comes here yet.
	var taken error
	if !cfg.ReusePort {
		taken = in.open(cfg)
	}
	h, err := newServer(cfg, log, lines)
	if err != nil {
		return err
	}
	defer h.close()
	h.again, h.events.Host = again, again.manager
	if cfg.ReusePort {
		taken = in.open(cfg)
	}
	if taken != nil {
		return taken
	}
	return h.run(ctx, in)
}

// open lets callers and operators in until ctx ends, and drains.
func (h *server) open(ctx context.Context, look *selfLook, in *entrances) error {
	calls, admin := h.callersServer(), h.opsServer()
	calls.Handler = look.before(calls.Handler)
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	admin.BaseContext = func(net.Listener) context.Context { return streams }
	callersEnded, operatorsEnded := make(chan error, 1), make(chan error, 1)
	go func() { callersEnded <- h.guards.callers.Serve(calls) }() // ends with Shutdown or Close below
	go func() { operatorsEnded <- h.guards.operators.Serve(admin) }()
	h.log.Info().Str("listen", h.config().Listen).Str("ops_listen", h.config().OpsListen).Int("tenants", h.book.Len()).Msg("serving")
	if err := daemon.Ready(h.summary()); err != nil {
		h.log.Warn().Err(err).Msg("systemd cannot be told that the proxy serves")
	}
	h.manager().Serving()
	h.manager().Tell(service.Started, fmt.Sprintf("dynproxy %s, %s.", release, h.summary()))

	var err error
	select {
	case err = <-callersEnded:
	case err = <-operatorsEnded:
	case <-ctx.Done():
		h.drain(calls, in.callers, callersEnded)
		endStreams()
		h.endOperators(admin, in.operators)
		h.log.Info().Msg("ended")
		return nil
	}
	calls.Close()
	admin.Close()
	return fmt.Errorf("serve: %w", err)
}

// summary is what systemd shows of a proxy that serves.
func (h *server) summary() string {
	return fmt.Sprintf("serving %d tenants at %s, operators at %s", h.book.Len(), h.config().Listen, h.config().OpsListen)
}

const (
	// lastCalls is how long requests may take to come, once nobody new is let
	// in, of those who were let in before: they have connected and said nothing
	// yet, or are in the middle of a head.
	lastCalls = 2 * time.Second

	lastPages = time.Second // of operators

	// lastWords is what the end takes at most when calls have ended: pages, the
	// log's reader, spans and files, on a machine that is busy.
	lastWords = 20 * time.Second
)

// drain ends the callers' side: first nobody new is sent here, then nobody new
// is let in, then what is in flight ends.
func (h *server) drain(calls *http.Server, callers *daemon.Socket, ended <-chan error) {
	h.log.Info().Dur("delay_ms", h.config().DrainDelay).Msg("draining")
	h.ops.draining.Store(true)
	h.board.Drain()
	daemon.Stopping("draining: what is in flight is finished", h.config().DrainDelay+h.config().DrainTimeout+lastWords)
	h.calls.Leave()
	time.Sleep(h.config().DrainDelay)
	within, cancel := context.WithTimeout(context.Background(), h.config().DrainTimeout)
	defer cancel()
	go callers.Leave() // ends soon, and with it Serve
	select {
	case <-ended:
	case <-within.Done():
	}
	g := h.guards.callers
	for began := time.Now(); g.CloseIdle(false) > 0 && time.Since(began) < lastCalls && within.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	g.CloseIdle(true)
	late := time.AfterFunc(lastCalls, h.calls.Drain)
	defer late.Stop()
	if err := calls.Shutdown(within); errors.Is(err, context.DeadlineExceeded) {
		h.log.Warn().Dur("timeout_ms", h.config().DrainTimeout).Msg("calls were still in flight and are cut off")
		calls.Close()
	}
}

// endOperators ends the operators' side, which tells of the drain to its end.
func (h *server) endOperators(admin *http.Server, operators *daemon.Socket) {
	operators.Leave()
	within, cancel := context.WithTimeout(context.Background(), lastPages)
	defer cancel()
	admin.Shutdown(within)
	admin.Close()
}
