package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// direct sends requests over TLS and HTTP/1.1 in the goroutine of whoever
// sends: neither a request nor an answer is handed to another, except for long
// bodies, which are written beside, lest an early answer be missed.
type direct struct {
	*Client
	tls  *tls.Config
	pool pool
}

// sessions is how many hosts' TLS sessions are kept, by which a further
// connection takes less.
const sessions = 512

func newDirect(c *Client) *direct {
	d := &direct{Client: c, tls: trust(c.config)}
	d.tls.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	d.tls.DynamicRecordSizingDisabled = true // each record is a system call
	d.pool.direct = d
	return d
}

// suits reports whether r is what direct sends. The rest, what is malformed
// included, is net/http's.
func suits(r *http.Request) bool {
	if r.URL == nil || r.URL.Scheme != "https" || r.Header == nil || r.Trailer != nil || len(r.TransferEncoding) > 0 {
		return false
	}
	if r.Body == nil && r.ContentLength != 0 || !plainHost(r.URL.Host) || r.Host != "" && !plainHost(r.Host) {
		return false
	}
	if r.Method == "" || r.Method == http.MethodConnect || !httpguts.ValidHeaderFieldName(r.Method) {
		return false
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || foldEqual(name, "Expect") || foldEqual(name, "Upgrade") {
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
	}
	return true
}

// plainHost reports whether host is a name or an address, with a port or
// without, of which nothing needs to be translated.
func plainHost(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return host != "" && host[0] != ':'
}

// addressOf is where the host of a URL is found.
func addressOf(host string) string {
	u := url.URL{Host: host}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
}

// trip is one request on its way over a link, and its answer.
type trip struct {
	direct *direct
	r      *http.Request
	ctx    context.Context
	left   time.Duration // of AnswerWithin

	link   *link       // nil without
	stop   func() bool // keeps the link from being cut when ctx ends
	out    *message    // what is to be written at once; nil for a body that goes beside
	spoilt bool        // the link must not be used again

	mu     sync.Mutex // guards changes of what is above while others look, and what follows
	stage  Stage
	upload *upload // what is written beside

	answer *http.Response // mostly resp
	resp   http.Response
	reply  reply
}

// RoundTrip is http.RoundTripper's, with errors as Client.RoundTrip's.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &trip{direct: d, r: r, ctx: r.Context(), left: d.patience.Load().AnswerWithin}
	defer x.discard()
	for tries := 1; ; tries++ {
		err := x.try(tries > 1)
		if err == nil {
			x.answer.Request = r
			return x.answer, nil
		}
		kept := x.link != nil && x.link.idled > 0 && !x.link.heard
		failed := x.failed(err)
		if e, ok := failed.(*Error); !ok || !kept || tries > 2 || !x.again(e) {
			return nil, failed
		}
	}
}

// discard gives back what a request took that was not sent.
func (x *trip) discard() {
	x.out.release()
	x.out = nil
	if x.upload == nil && x.stage < Body && x.r.Body != nil {
		x.r.Body.Close()
	}
}

// again reports whether a request that failed on a kept link, before anything
// of an answer came, can go by another: none of it has arrived, or it asks for
// no change. Then it stands ready once more.
func (x *trip) again(e *Error) bool {
	if !e.Transient() || e.Sent > 0 && !harmless(x.r) {
		return false
	}
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return true
	}
	if x.r.GetBody == nil {
		return false
	}
	body, err := x.r.GetBody()
	if err != nil {
		return false
	}
	once := *x.r
	once.Body = body
	x.mu.Lock()
	defer x.mu.Unlock()
	x.r, x.upload = &once, nil
	return true
}

type onceKey struct{}

// Once marks a request that must be carried out once at most, whatever its
// method says.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// harmless reports whether r asks for no change.
func harmless(r *http.Request) bool {
	return reads(r.Method) && r.Context().Value(onceKey{}) == nil
}

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// try makes the trip once, up to the head of the answer. fresh asks for a link
// that was not kept.
func (x *trip) try(fresh bool) error {
	x.at(Connect)
	if err := x.ctx.Err(); err != nil {
		return err
	}
	if err := x.prepare(); err != nil {
		return err
	}
	began := time.Now()
	l, err := x.direct.pool.host(x.r.URL.Host).take(x.ctx, x.left, fresh, !harmless(x.r))
	x.spend(began)
	if err != nil {
		return err
	}
	x.stop = untouched
	if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, l.leave)
	}
	x.mu.Lock()
	x.link, x.stage = l, Send
	x.mu.Unlock()
	if err := x.send(); err != nil {
		return err
	}
	return x.receive()
}

func untouched() bool { return true }

func (x *trip) at(stage Stage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stage = stage
}

// spend counts what has passed since began against AnswerWithin.
func (x *trip) spend(began time.Time) {
	if x.left > 0 {
		x.left = max(x.left-time.Since(began), time.Millisecond)
	}
}

// failed ends the trip without an answer, or in the middle of one, and says
// why: with an *Error, or with the cause for which the request's context ended.
func (x *trip) failed(err error) error {
	x.mu.Lock()
	e := &Error{Stage: x.stage, Err: err, Timeout: isTimeout(err)}
	x.mu.Unlock()
	if l := x.link; l != nil {
		e.Timeout = e.Timeout && !l.meter.left.Load()
		e.Sent = l.meter.delivered(l.base)
		if e.Stage == Body {
			e.Sent = max(1, e.Sent)
		}
	}
	x.end(false)
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	if e.Timeout && e.Stage != Connect {
		e.Err = e.Stage.late()
	}
	return e
}

// end gives the link back, to be used again if keep is set and nothing stands
// against it.
func (x *trip) end(keep bool) {
	x.mu.Lock()
	l := x.link
	x.link = nil
	x.mu.Unlock()
	if l == nil {
		return
	}
	keep = keep && !x.spoilt && x.uploaded() && l.quiet()
	keep = x.stop() && keep && !l.meter.left.Load()
	l.rest()
	if keep {
		x.direct.pool.put(l)
		return
	}
	l.cut()
	if x.upload != nil {
		x.upload.body.Close()
	}
}

// errHeadTooLarge is a head of more than headMost bytes, interim ones included.
var errHeadTooLarge = errors.New("the head is too large")

const headMost = 1 << 20

// closes reports whether a header asks for the connection's end.
func closes(header http.Header) bool {
	values := header["Connection"]
	return len(values) > 0 && httpguts.HeaderValuesContainsToken(values, "close")
}

// foldEqual is strings.EqualFold for ASCII.
func foldEqual(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
