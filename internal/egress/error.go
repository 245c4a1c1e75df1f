package egress

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// Stage is how far a request came.
type Stage uint8

// The stages, in order.
const (
	Connect Stage = iota // name, connection, CONNECT, TLS
	Send                 // the request is being written
	Await                // it is written, the answer has not begun
	Body                 // the answer has begun
)

// late is a wait that took too long, by what was waited for.
type late string

const (
	errNoConnection late = "no answer came in time to the attempt to connect"
	errNoTunnel     late = "no answer came in time from the proxy of HTTPS_PROXY"
	errNoHandshake  late = "no answer came in time in the middle of the TLS handshake"
	errNotTaken     late = "it took up no more of the request in time"
	errNoAnswer     late = "no answer came in time"
	errStalled      late = "the answer was begun and then nothing more came"
)

func (l late) Error() string   { return string(l) }
func (l late) Timeout() bool   { return true }
func (l late) Temporary() bool { return true }

// late is the error of a wait that took too long at that stage.
func (s Stage) late() late {
	return [...]late{errNoConnection, errNotTaken, errNoAnswer, errStalled}[s]
}

// Error is a request that failed on its way, or an answer that broke off.
type Error struct {
	Stage   Stage
	Sent    int64 // bytes of the request that may have arrived; 0 means that it never left
	Timeout bool
	Err     error // must not be shown to a caller as it is: see Explain
}

func (e *Error) Error() string { return Explain(e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Transient reports whether the same may go well the next time: a connection
// that was refused or broke, in contrast to a name, an address or a
// certificate that will be wrong again.
func (e *Error) Transient() bool {
	if e.Timeout || errors.Is(e.Err, ErrPrivate) {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return dns.IsTemporary && !dns.IsNotFound
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.Err); ok {
		return false
	}
	return ofNetwork(e.Err)
}

// ofNetwork reports whether err is a connection's.
func ofNetwork(err error) bool {
	_, op := errors.AsType[*net.OpError](err)
	return op || brokeOff(err)
}

func brokeOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errStale) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || serverClosed(err)
}

// serverClosed recognizes what net/http says without a type.
func serverClosed(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server closed idle connection")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// Explain says what an error of the network means, in words without addresses,
// queries or the names of types. Unknown errors are not quoted.
func Explain(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name cannot be resolved (" + dns.Err + ")"
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("its certificate is not trusted (%v); if a proxy inspects TLS, name its CA in DYNPROXY_TRUSTED_CA_FILE", cert.Err)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return "the TLS handshake was refused: " + strings.TrimPrefix(alert.Error(), "tls: ")
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "what answers there does not speak TLS (" + record.Msg + ")"
	}
	if refused, ok := errors.AsType[notConnected](err); ok {
		return refused.Error()
	}
	if waited, ok := errors.AsType[late](err); ok {
		return waited.Error()
	}
	for _, known := range []struct {
		is    error
		words string
	}{
		{ErrPrivate, ErrPrivate.Error()},
		{errFault, errFault.Error()},
		{errHeadTooLarge, "the head of its answer is too large"},
		{errTooManyInterim, "it sent too many interim answers"},
		{errTrailer, "its answer is not framed as HTTP demands"},
		{errSwitched, "it switched to another protocol without being asked"},
		{errStale, "the connection had been closed by the other side"},
		{syscall.ECONNREFUSED, "the connection was refused; nothing listens there"},
		{syscall.ECONNRESET, "the connection was reset by the other side"},
		{syscall.EPIPE, "the connection was closed by the other side"},
		{syscall.EHOSTUNREACH, "there is no route to it"},
		{syscall.ENETUNREACH, "there is no route to its network"},
		{syscall.EMFILE, "this process has no more file descriptors"},
		{syscall.ENFILE, "this machine has no more file descriptors"},
	} {
		if errors.Is(err, known.is) {
			return known.words
		}
	}
	switch {
	case isTimeout(err):
		return "no answer came in time"
	case brokeOff(err):
		return "the connection broke off"
	}
	return explainText(err)
}

// explainText recognizes errors of net/http that have no type.
func explainText(err error) string {
	if err == nil {
		return "unknown"
	}
	text := err.Error()
	for _, known := range []struct{ part, words string }{
		{"malformed HTTP", "what it answers is not HTTP"},
		{"malformed MIME header", "the head of its answer is malformed"},
		{"too many 1xx", "it sent too many interim answers"},
		{"header list", "the head of its answer is too large"},
		{"response headers exceeded", "the head of its answer is too large"},
		{"chunk", "its answer is not framed as HTTP demands"},
		{"transfer encoding", "its answer is not framed as HTTP demands"},
		{"Content-Length", "its answer is not framed as HTTP demands"},
		{"proxyconnect", "the proxy of HTTPS_PROXY did not connect"},
		{"tls: ", "the TLS handshake failed"},
		{"use of closed network connection", "the connection was closed"},
		{"connection", "the connection broke off"},
	} {
		if strings.Contains(text, known.part) {
			return known.words
		}
	}
	return "the exchange failed"
}
