package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// network is where an emulator listens: loopback ports after Start, and a
// listener in memory behind Transport.
type network struct {
	handler http.Handler

	mu      sync.RWMutex // guards what follows
	server  *http.Server
	login   string                   // host:port of Entra ID
	ports   map[string]*Organization // by port
	memory  *memoryListener
	serving sync.WaitGroup // ends with Close
}

// Start opens a TLS listener on loopback for Entra ID and one for each
// organization. addr is "127.0.0.1:0" for free ports, or names the port of
// Entra ID, with those of the organizations following it in the order of the
// seed. Close ends them.
func (e *Emulator) Start(addr string) error {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("read the address %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fmt.Errorf("read the port of %q: %w", addr, err)
	}
	if !isLoopback(host) {
		return fmt.Errorf("the emulator listens on loopback only, not on %q", host)
	}
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	if e.network.login != "" {
		return errors.New("the emulator is started already")
	}

	opened, err := listenAll(host, port, len(e.organizations)+1)
	if err != nil {
		return fmt.Errorf("open the listeners of the emulator: %w", err)
	}
	e.network.login = opened[0].Addr().String()
	e.network.ports = map[string]*Organization{}
	e.network.serve(opened[0], nil, e.tlsConfig())
	for i, o := range e.organizations {
		l := opened[i+1]
		_, port, _ := net.SplitHostPort(l.Addr().String())
		e.network.ports[port] = o
		o.setAddress(l.Addr().String())
		e.network.serve(&gatedListener{l, o}, o, e.tlsConfig())
	}
	return nil
}

// listenAll opens n listeners on ports that follow each other, or on any free
// ones if port is zero: all of them or none.
func listenAll(host string, port uint64, n int) ([]net.Listener, error) {
	var opened []net.Listener
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(port, 10)))
		if err != nil {
			for _, l := range opened {
				l.Close()
			}
			return nil, err
		}
		opened = append(opened, l)
		if port != 0 {
			port++
		}
	}
	return opened, nil
}

// Close ends every listener and connection and waits until nothing is served
// any more.
func (e *Emulator) Close() error {
	e.network.mu.Lock()
	server := e.network.server
	e.network.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	e.network.serving.Wait()
	return err
}

// Transport returns a client's side that leads every host to the emulator,
// through memory and not through a socket, and trusts its authority. It needs
// no Start, and it works inside a bubble of testing/synctest if it is first
// asked for there.
func (e *Emulator) Transport() *http.Transport {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	if e.network.memory == nil {
		e.network.memory = newMemoryListener()
		e.network.serve(e.network.memory, nil, e.tlsConfig())
	}
	memory := e.network.memory
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return memory.dial(ctx, addr)
		},
		TLSClientConfig:     &tls.Config{RootCAs: e.ca.pool(), MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
	}
}

// serve answers on l, which may belong to an organization, until Close; n.mu is
// held.
func (n *network) serve(l net.Listener, o *Organization, conf *tls.Config) {
	if n.server == nil {
		n.server = &http.Server{
			Handler:           n.handler,
			TLSConfig:         conf,
			ReadHeaderTimeout: time.Minute,
			ConnContext:       withConn,
			// Clients that do not trust the authority would fill the console.
			ErrorLog: log.New(io.Discard, "", 0),
		}
	}
	server := n.server
	n.serving.Go(func() { server.ServeTLS(&connListener{l, o}, "", "") })
}

// at tells who listens at a loopback host:port.
func (n *network) at(hostport string) (o *Organization, login bool) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || !isLoopback(host) {
		return nil, false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.ports[port], strings.HasSuffix(n.login, ":"+port)
}

func (n *network) loginHost() string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.login
}

// gatedListener drops the connections of an organization that is down.
type gatedListener struct {
	net.Listener
	organization *Organization
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || !l.organization.faults.has(Down) {
			return c, err
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// memoryListener hands the far end of each dialled pipe to a server.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) dial(ctx context.Context, addr string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: %w", addr, net.ErrClosed)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

// memoryAddr is the address of a memoryListener.
type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "emulator:443" }
