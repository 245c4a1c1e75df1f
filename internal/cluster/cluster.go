// Package cluster makes several proxies one through Redis: it holds the
// connection and judges it, knows which proxies there are, and carries what one
// of them has to say to all. It is the only importer of the Redis client.
//
// No call ever waits long for Redis. An exchange has exchangeWithin; after two
// that failed in a row every further one fails at once with errAlone, until one
// in the background has gone through again.
package cluster

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"dynproxy/internal/panics"
	"dynproxy/internal/secret"
)

// exchangeWithin is the longest that a proxy waits for one exchange with Redis.
const exchangeWithin = 250 * time.Millisecond

// errAlone is the error of an exchange that was not tried: Redis was not usable
// when it was asked last, or there is none.
var errAlone = errors.New("redis cannot be used at the moment")

// aloneError is errAlone with the reason, in plain words. They are put together
// for who reads them: most often each call of an outage makes one.
type aloneError struct{ why string }

func (e *aloneError) Error() string { return errAlone.Error() + ": " + e.why }
func (e *aloneError) Unwrap() error { return errAlone }

// errFault is that of an exchange in which this program has failed, and not
// Redis.
var errFault = errors.New("a fault of the proxy itself; its log says where")

// Options are what a Client is made of.
type Options struct {
	URL     secret.Text           // empty for a proxy that is alone for good
	Prefix  string                // of every key
	Roots   func() *x509.CertPool // whom to trust at a handshake; nil for the system's
	Version string                // of this proxy, for the others
	Log     zerolog.Logger
	// Observer is for one that is no member and only wants to know.
	Observer bool
	// Remember is a file for how many members there are, for a start without
	// Redis; empty: nothing is remembered.
	Remember string
}

// Client is this proxy's place among the others. Its methods may be called at
// the same time, and cost next to nothing where no Redis is set.
type Client struct {
	redis    redis.UniversalClient // nil without a Redis
	spread   bool                  // over the nodes of a cluster, of which one may be gone
	prefix   string
	name     string // of this proxy
	version  string
	began    time.Time
	observer bool
	log      zerolog.Logger

	breaker
	fleet
	remembered remembered

	exchanges, failures atomic.Uint64
}

// Open returns a Client by o. It connects with Run, or with Join. The error
// says what is wrong with the URL, and does not quote it.
func Open(o Options) (*Client, error) {
	c := &Client{prefix: o.Prefix, name: memberName(), version: o.Version, began: time.Now(), observer: o.Observer, log: o.Log}
	c.fleet.handlers = make(map[string]func([]byte))
	c.remembered.file = o.Remember
	if o.URL.Empty() {
		c.breaker.off()
		return c, nil
	}
	place, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	logging.Disable() // what it says of its connections, Client says once
	c.redis, c.spread = place.open(o.Roots), place.cluster != nil
	c.remembered.read()
	c.follow()
	c.breaker.start()
	return c, nil
}

// memberName is unique among all proxies of all machines.
func memberName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "proxy"
	}
	return strings.ToLower(host) + "-" + randomID()[:6]
}

func randomID() string {
	var id [12]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Name is this proxy's among the members.
func (c *Client) Name() string { return c.name }

// On reports whether a Redis is set, usable or not.
func (c *Client) On() bool { return c.redis != nil }

// Key is a key of Redis. All keys of one tag lie on the same node of a cluster,
// so that one script may have them.
func (c *Client) Key(tag, name string) string { return c.prefix + ":{" + tag + "}:" + name }

// Close takes this proxy from the members and ends the connections.
func (c *Client) Close() {
	if c == nil || c.redis == nil {
		return
	}
	c.leave()
	c.redis.Close()
}

// patience is that of a proxy, for whose calls Redis is no more than help, or of
// a command, which has nothing else to go by.
func (c *Client) patience() time.Duration {
	if c.observer {
		return connectWithin
	}
	return exchangeWithin
}

// do is one exchange: f with the connection, within patience. It fails at once
// while Redis cannot be used, but for the probe that finds out.
func do[T any](ctx context.Context, c *Client, f func(context.Context, redis.UniversalClient) (T, error)) (T, error) {
	var none T
	if c.redis == nil {
		return none, errAlone
	}
	if !c.breaker.usable() {
		return none, &aloneError{c.breaker.State().Error}
	}
	return exchange(ctx, c, c.patience(), f)
}

// exchange is do without a look at the breaker. The library is not trusted to
// end in time: it holds locks of its own while a sentinel is silent.
func exchange[T any](ctx context.Context, c *Client, patience time.Duration, f func(context.Context, redis.UniversalClient) (T, error)) (T, error) {
	within, cancel := context.WithTimeoutCause(ctx, patience, errLate)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() { // ends with the library's own patience, at the latest
		defer panics.Recover(c.log, "exchange with Redis", func() { done <- outcome{err: errFault} })
		value, err := f(within, c.redis)
		done <- outcome{value, err}
	}()
	var got outcome
	select {
	case got = <-done:
	case <-within.Done():
		got.err = context.Cause(within)
	}
	if ctx.Err() != nil && got.err != nil { // whoever asked has left
		return got.value, context.Cause(ctx)
	}
	c.exchanges.Add(1)
	if got.err == nil || got.err == redis.Nil { // a sentinel's, which is inside another, is a failure
		c.worked()
		return got.value, got.err
	}
	c.failures.Add(1)
	words, down := judge(got.err)
	if down && !c.spread || !c.usable() {
		c.failed(words)
	} else {
		c.worked()
	}
	return got.value, &exchangeError{words}
}

// exchangeError is why an exchange has failed, in plain words: without an address's
// password, and without what Redis has answered, which may quote it.
type exchangeError struct{ words string }

func (e *exchangeError) Error() string { return e.words }
