package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"dynproxy/internal/secret"
)

const (
	// connectWithin is how long a connection may take to come about, name,
	// handshake and password included. Nobody waits for it but the background.
	connectWithin = time.Second

	// handshakeWithin is the part of it that is TLS's.
	handshakeWithin = 700 * time.Millisecond

	connections = 16 // at most, to one server
)

// place is where Redis is, by one of the library's three forms.
type place struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

var (
	errAddress   = errors.New("must be an address such as redis://user:password@redis.example.com:6379/0; rediss:// is with TLS. Special characters of a password are written as %xx")
	errParameter = errors.New("has parameters that are not known, or that do not go with its form. A sentinel's is redis://sentinel:26379/0?master_name=NAME&addr=sentinel2:26379, a cluster's redis://node:6379?addr=node2:6379")
	errNumber    = errors.New("names a port that is not from 1 to 65535, or a database below 0")
	errReplica   = errors.New("asks for replicas, to which nothing can be written: take replica_only, read_only and route_* out")
)

// CheckURL says what is wrong with the address of a Redis, without quoting it.
func CheckURL(address secret.Text) error {
	_, err := parse(address)
	return err
}

// Prefix is what may stand before keys.
var Prefix = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// parse reads an address as the library does, and takes its form from its
// parameters: master_name is a sentinel's, a second addr a cluster's. The
// library's own errors quote what may be a password.
func parse(address secret.Text) (*place, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" || u.Hostname() == "" || u.Fragment != "" {
		return nil, errAddress
	}
	p, q := new(place), u.Query()
	var servers []string
	var database int
	var replicas bool
	switch {
	case q.Has("master_name"):
		if p.sentinel, err = redis.ParseFailoverURL(u.String()); err == nil {
			servers, database = p.sentinel.SentinelAddrs, p.sentinel.DB
			replicas = p.sentinel.ReplicaOnly || p.sentinel.RouteByLatency || p.sentinel.RouteRandomly
		}
	case q.Has("addr"):
		if p.cluster, err = redis.ParseClusterURL(u.String()); err == nil {
			servers = p.cluster.Addrs
			database, err = strconv.Atoi(cmp.Or(strings.Trim(u.Path, "/"), "0")) // which the library passes over
			replicas = p.cluster.ReadOnly || p.cluster.RouteByLatency || p.cluster.RouteRandomly
		}
	default:
		if p.single, err = redis.ParseURL(u.String()); err == nil {
			servers, database = []string{p.single.Addr}, p.single.DB
		}
	}
	switch {
	case err != nil:
		return nil, errParameter
	case replicas:
		return nil, errReplica
	case database < 0 || slices.ContainsFunc(servers, beyondPorts):
		return nil, errNumber
	}
	return p, nil
}

// beyondPorts reports whether a server is at a port that there is not: the
// library takes any text for one.
func beyondPorts(server string) bool {
	_, port, _ := net.SplitHostPort(server)
	n, err := strconv.ParseUint(port, 10, 16)
	return err != nil || n == 0
}

// open makes the client. Its own patience, which is that of a server with
// nothing better to do, is replaced: no retries, no waiting.
func (p *place) open(roots func() *x509.CertPool) redis.UniversalClient {
	switch {
	case p.sentinel != nil:
		o := p.sentinel
		o.Dialer = dialer(o.TLSConfig, roots)
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = connectWithin, connectWithin, connectWithin, connectWithin
		o.PoolSize, o.PipelinePoolSize, o.DisableIdentity, o.Protocol = connections, -1, true, 2
		return redis.NewFailoverClient(o)
	case p.cluster != nil:
		o := p.cluster
		o.Dialer = dialer(o.TLSConfig, roots)
		o.MaxRetries, o.MaxRedirects, o.DialerRetries, o.ContextTimeoutEnabled = -1, 2, 1, true
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = connectWithin, connectWithin, connectWithin, connectWithin
		o.PoolSize, o.PipelinePoolSize, o.DisableIdentity, o.Protocol = connections, -1, true, 2
		return redis.NewClusterClient(o)
	}
	o := p.single
	o.Dialer = dialer(o.TLSConfig, roots)
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = connectWithin, connectWithin, connectWithin, connectWithin
	o.PoolSize, o.PipelinePoolSize, o.DisableIdentity, o.Protocol = connections, -1, true, 2
	return redis.NewClient(o)
}

// errHandshake is for one that says nothing in the middle of a handshake.
var errHandshake = errors.New("no TLS handshake in time")

// dialer connects, and asks at each handshake whom to trust: that file may have
// changed.
func dialer(secure *tls.Config, roots func() *x509.CertPool) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: connectWithin}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil || secure == nil {
			return conn, err
		}
		now := secure.Clone()
		now.MinVersion = tls.VersionTLS12
		if roots != nil {
			now.RootCAs = roots()
		}
		over := tls.Client(conn, now)
		within, cancel := context.WithTimeoutCause(ctx, handshakeWithin, errHandshake)
		defer cancel()
		if err := over.HandshakeContext(within); err != nil {
			conn.Close()
			if errors.Is(context.Cause(within), errHandshake) {
				err = errHandshake
			}
			return nil, err
		}
		return over, nil
	}
}
