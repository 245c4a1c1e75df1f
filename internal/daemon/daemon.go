// Package daemon is what a process that serves owes to the system under it:
// sockets that it opens, shares or is given, and that it leaves without losing
// who has come; and the words that systemd waits for.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// Socket is a TCP listener that can be left without losing anybody.
type Socket struct {
	*net.TCPListener
	shared    bool // other processes may listen beside this one, each with a queue of its own
	inherited bool // its queue outlives this process

	leaving atomic.Bool
	probes  chan byte // how a shared socket finds out which of them it is
}

// Listen opens address. With share other processes of the same user that say
// so too may listen there at the same time: that takes a system on which
// CanShare.
func Listen(address string, share bool) (*Socket, error) {
	var config net.ListenConfig
	if share {
		config.Control = func(_, _ string, c syscall.RawConn) error { return control(c, reusePort) }
		config.SetMultipathTCP(false) // such a socket takes no filters
	}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, plainly(err, address)
	}
	return &Socket{TCPListener: l.(*net.TCPListener), shared: share, probes: make(chan byte, 1)}, nil
}

// plainly says what an operator can do about an address that cannot be opened.
func plainly(err error, address string) error {
	switch {
	case inUse(err):
		return fmt.Errorf("%s is taken: another process listens there. End it, or choose another port: %w", address, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is not for this user: choose a port above 1023, or give the program the right to it: %w", address, err)
	}
	return fmt.Errorf("%s is no address to listen at: name one of this machine's, such as 127.0.0.1:8080, or :8080 for all of them: %w", address, err)
}

// Inherited returns the sockets that systemd has opened for this process
// (socket activation), in the order of names. They are known by
// FileDescriptorName=, or, where none has one of names, by their order. A name
// that was not given is nil.
func Inherited(names ...string) ([]*Socket, error) {
	files := activation.Files(true)
	byOrder := true
	for _, f := range files {
		for _, name := range names {
			byOrder = byOrder && f.Name() != name
		}
	}
	sockets := make([]*Socket, len(names))
	for i, f := range files {
		at := i
		if !byOrder {
			at = indexOf(names, f.Name())
		}
		l, err := net.FileListener(f)
		f.Close()
		tcp, is := l.(*net.TCPListener)
		switch {
		case err != nil || !is:
			return nil, fmt.Errorf("socket %d (%q) of systemd is no TCP socket that listens: it must have ListenStream=address:port", i+1, f.Name())
		case at < 0 || at >= len(names):
			return nil, fmt.Errorf("socket %d (%q) of systemd means nothing here: FileDescriptorName= must be one of %q", i+1, f.Name(), names)
		case sockets[at] != nil:
			return nil, fmt.Errorf("systemd gives two sockets named %q: one is needed", names[at])
		}
		sockets[at] = &Socket{TCPListener: tcp, inherited: true}
	}
	return sockets, nil
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// Accept returns the next connection. After Leave it goes on until nobody is
// left who has come, and then gives net.ErrClosed.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		c, err := s.TCPListener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.TCPListener.Close()
			return nil, net.ErrClosed
		}
		if err != nil {
			return nil, err
		}
		if k, is := probe(c); s.shared && is {
			select {
			case s.probes <- k:
			default:
			}
			c.Close()
			continue
		}
		return c, nil
	}
}

// How long a socket is still listened on after Leave: what stands in its queue
// is taken, and where it is shared, handshakes that have begun with it end.
const (
	queueTime     = 5 * time.Millisecond
	handshakeTime = 200 * time.Millisecond
)

// Leave stops listening, a moment later, when everybody who had come by now
// has been accepted; somebody must go on to Accept. New callers of a shared
// socket are led to another process, if there is one.
//
// Each process has a queue of its own, which the system fills and closing
// throws away: callers would see their connection reset.
func (s *Socket) Leave() {
	if !s.leaving.CompareAndSwap(false, true) {
		return
	}
	switch {
	case s.inherited:
		s.TCPListener.Close()
	case s.shared:
		s.handOver()
	default:
		s.SetDeadline(time.Now().Add(queueTime))
	}
}

// probeNet are the addresses from which a process finds out which socket is
// its own. The last byte is a number.
var probeNet = netip.MustParsePrefix("127.77.77.0/24")

func probe(c net.Conn) (k byte, is bool) {
	addr, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	from := addr.AddrPort().Addr().Unmap()
	if !probeNet.Contains(from) {
		return 0, false
	}
	return from.As4()[3], true
}

// control runs f on the descriptor of c.
func control(c syscall.RawConn, f func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}
