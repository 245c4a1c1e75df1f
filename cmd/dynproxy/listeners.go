package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/door"
	"dynproxy/internal/envfile"
	"dynproxy/internal/httpguard"
	"dynproxy/internal/machine"
	"dynproxy/internal/panics"
)

// Bounds of the operators' side: a few people, a scraper and a health check.
const (
	opsConnections = 256
	opsHead        = 32 << 10
	opsBody        = 1 << 20 // bytes of a form or a question
	opsPatience    = 30 * time.Second
)

// guards are the two listeners, each behind what looks at connections.
type guards struct {
	callers, operators *httpguard.Guard

	callersTLS, operatorsTLS *tls.Config       // nil for plain HTTP
	authorities              *door.Authorities // nil where callers need no certificate

	watch []func(ctx context.Context, log zerolog.Logger) // what is read again when its files change
}

// openTLS reads certificates, keys and the callers' CA.
func (g *guards) openTLS(cfg *config, faults *envfile.Faults) {
	g.callersTLS = g.tls("", cfg.TLSCertFile, cfg.TLSKeyFile, cfg.CallerCAFile, faults)
	g.operatorsTLS = g.tls("OPS_", cfg.OpsTLSCertFile, cfg.OpsTLSKeyFile, "", faults)
}

// guard puts a guard before each of the two listeners.
func (h *server) guard(callers, operators net.Listener) {
	g := h.guards
	most, few := h.connections()
	bounds := h.headLimits()
	bounds.Log, bounds.Connections, bounds.PerAddress = h.log, most, h.config().MaxConnsPerAddr
	g.callers = listener(callers, g.callersTLS, bounds)
	g.operators = listener(operators, g.operatorsTLS, httpguard.Limits{
		Log: h.log, Head: opsHead, Heads: 2 << 20, Connections: few, Handshakes: 64, Drains: 16, WriteIdle: opsPatience,
	})
	h.registry.MustRegister(g.callers.Metrics("callers")...)
	h.registry.MustRegister(g.operators.Metrics("operators")...)
}

// connections is how many connections callers and operators may have.
func (h *server) connections() (callers, operators int) {
	files, wanted := machine.Descriptors(), h.config().MaxConns
	callers, operators = machine.ShareDescriptors(files, wanted, opsConnections)
	if callers != wanted && (wanted > 0 || files < machine.EnoughDescriptors) {
		h.log.Warn().Int("open_files", files).Int("connections", callers).Int("wanted", wanted).
			Msg("the limit of open files leaves room for fewer callers' connections than " + prefix + "MAX_CONNECTIONS; raise it (ulimit -n, LimitNOFILE=), or lower the setting")
	}
	return callers, operators
}

// boundConnections puts the bounds of the settings in force; those who are in
// stay.
func (h *server) boundConnections() {
	callers, _ := h.connections()
	h.guards.callers.Bound(callers, h.config().MaxConnsPerAddr)
}

// headLimits bound the head of a caller's request.
func (h *server) headLimits() httpguard.Limits {
	return httpguard.Limits{
		Head: h.config().MaxHeaderBytes, RequestLine: h.config().MaxURLBytes,
		HeadSetting: prefix + "MAX_HEADER_BYTES", RequestLineSetting: prefix + "MAX_URL_BYTES",
	}
}

func listener(l net.Listener, over *tls.Config, bounds httpguard.Limits) *httpguard.Guard {
	if over == nil {
		return httpguard.Listener(l, bounds)
	}
	return httpguard.TLSListener(l, over, bounds)
}

// callersServer serves callers.
func (h *server) callersServer() *http.Server {
	return &http.Server{
		Handler:           h.calls,
		ReadHeaderTimeout: h.config().HeaderTimeout,
		IdleTimeout:       h.config().KeepAlive,
		ErrorLog:          panics.ServerLog(h.log),
		ConnState:         afresh,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: h.config().MaxStreams,
			MaxReadFrameSize:     16 << 10, // a frame's room is taken before it is here
			SendPingTimeout:      h.config().KeepAlive, PingTimeout: opsPatience,
		},

		DisableGeneralOptionsHandler: true, // OPTIONS * is for the Handler to refuse
	}
}

// afresh lets no deadline of one answer run on to the next request: net/http
// would answer that by itself, if it cannot be read, and could not.
func afresh(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		c.SetWriteDeadline(time.Time{})
	}
}

// opsServer serves operators and administrators.
func (h *server) opsServer() *http.Server {
	bounds := door.Bounds{Known: func() func(string) bool { return *h.opsHosts.Load() }, Body: opsBody, Within: opsPatience}
	return &http.Server{
		Handler:           bounds.Before(h.ops),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       h.config().KeepAlive,
		ErrorLog:          panics.ServerLog(h.log),
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				h.ops.door.Closed(c.RemoteAddr().String())
			}
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 32, MaxReadFrameSize: 16 << 10,
			SendPingTimeout: opsPatience, PingTimeout: opsPatience, WriteByteTimeout: opsPatience,
		},
	}
}

// tls returns how to speak TLS with the pair of files, nil without one. ca, if
// set, is whose certificates callers must show.
func (g *guards) tls(kind, cert, key, ca string, faults *envfile.Faults) *tls.Config {
	if cert == "" {
		return nil
	}
	pair, err := door.OpenPair(cert, key)
	if err != nil {
		faults.Add(prefix+kind+"TLS_CERT_FILE", "and %s%sTLS_KEY_FILE cannot be used: %v", prefix, kind, err)
	}
	g.follow(pair.Watch, kind+"TLS_CERT_FILE")
	over := pair.Config()
	if ca == "" {
		return over
	}
	if g.authorities, err = door.OpenAuthorities(ca, pair); err != nil {
		faults.Add(prefix+"CALLER_CA_FILE", "is wrong: %v", err)
	}
	g.follow(g.authorities.Watch, "CALLER_CA_FILE")
	g.authorities.Require(over)
	return over
}

// certificateEnds is when the certificate ends that is shown, zero without one.
func certificateEnds(over *tls.Config) time.Time {
	if over == nil {
		return time.Time{}
	}
	pair, err := over.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// follow takes files of a setting among those that are read again.
func (g *guards) follow(watch func(context.Context, func(error)), setting string) {
	g.watch = append(g.watch, func(ctx context.Context, log zerolog.Logger) { watch(ctx, fileChanged(log, setting)) })
}

// fileChanged tells what came of a file that has changed.
func fileChanged(log zerolog.Logger, setting string) func(error) {
	return func(err error) {
		if err != nil {
			log.Error().Str("variable", prefix+setting).Err(err).Msg("the changed file cannot be used; what it held before stays in use")
			return
		}
		log.Info().Str("variable", prefix+setting).Msg("the changed file is in use")
	}
}
