package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// echo answers each connection with the byte it sends, until the socket is
// left.
func echo(s *Socket) {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.CopyN(c, c, 1)
		}()
	}
}

// ask makes a connection and has its byte back.
func ask(address string) error {
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// Two sockets listen at all times, and of three the oldest is left again and
// again while new callers come without pause.
func TestLeavingASharedSocketLosesNobody(t *testing.T) {
	if !CanShare {
		needs.Missing(t, "a system on which sockets are shared")
	}
	for _, host := range []string{"127.0.0.1:0", ":0", "[::1]:0"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			open := []*Socket{listen(t, host, true)}
			address := strings.Replace(open[0].Addr().String(), "[::]", "127.0.0.1", 1)
			go echo(open[0])
			var asked, lost atomic.Int64
			ended := make(chan struct{})
			var callers sync.WaitGroup
			for range 4 {
				callers.Go(func() {
					for {
						select {
						case <-ended:
							return
						case <-time.After(2 * time.Millisecond):
						}
						asked.Add(1)
						if err := ask(address); err != nil {
							lost.Add(1)
							t.Error(err)
						}
					}
				})
			}
			for i := range 10 {
				next := listen(t, open[0].Addr().String(), true)
				go echo(next)
				open = append(open, next)
				if i > 0 { // the first time there are two of them
					open[0].Leave()
					open = open[1:]
				}
			}
			close(ended)
			callers.Wait()
			t.Logf("%d connections, %d lost", asked.Load(), lost.Load())
			if asked.Load() < 10 {
				t.Error("too few to tell")
			}
		})
	}
}

func listen(t *testing.T, address string, share bool) *Socket {
	t.Helper()
	s, err := Listen(address, share)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Who stands in the queue is accepted after Leave.
func TestWhoHasComeIsAccepted(t *testing.T) {
	for _, share := range []bool{false, true} {
		if share && !CanShare {
			continue
		}
		s := listen(t, "127.0.0.1:0", share)
		var callers sync.WaitGroup
		for range 20 {
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			callers.Go(func() {
				defer c.Close()
				io.WriteString(c, "x")
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Errorf("shared: %v: %v", share, err)
				}
			})
		}
		left := make(chan struct{})
		go func() { s.Leave(); close(left) }()
		echo(s)
		<-left
		callers.Wait()
		if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	}
}

func TestATakenAddressIsSaidPlainly(t *testing.T) {
	s := listen(t, "127.0.0.1:0", false)
	for _, share := range []bool{false, CanShare} {
		_, err := Listen(s.Addr().String(), share)
		if err == nil || !strings.Contains(err.Error(), s.Addr().String()+" is taken") {
			t.Errorf("%v", err)
		}
	}
}

func TestWhatSystemdIsTold(t *testing.T) {
	if runtime.GOOS == "windows" {
		needs.Missing(t, "datagrams between processes")
	}
	at := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", at)
	heard := func() []string {
		t.Helper()
		text := make([]byte, 4<<10)
		told.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := told.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text[:n]), "\n")
	}
	for want, tell := range map[string]func() error{
		"READY=1\nSTATUS=serving 2 tenants": func() error { return Ready("serving 2\ntenants") },
		"STATUS=well":                       func() error { return Status("well") },
		"STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000\nSTATUS=draining": func() error {
			return Stopping("draining", 90*time.Second)
		},
	} {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
		if got := heard(); !slices.Equal(got, strings.Split(want, "\n")) {
			t.Errorf("%q", got)
		}
	}
	if err := Reloading(); err != nil {
		t.Fatal(err)
	}
	if got := heard(); got[0] != "RELOADING=1" || len(got) != 2 || !strings.HasPrefix(got[1], "MONOTONIC_USEC=") || got[1] == "MONOTONIC_USEC=0" && runtime.GOOS == "linux" {
		t.Errorf("%q", got)
	}

	// The watchdog is fed while the proxy answers, and only then.
	t.Setenv("WATCHDOG_USEC", "40000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var hangs atomic.Bool
	starved := make(chan error, 100)
	go Watchdog(ctx, func(ctx context.Context) error {
		if hangs.Load() {
			<-ctx.Done() // as a request that nobody answers
			return ctx.Err()
		}
		return nil
	}, func(err error) { starved <- err })
	for range 3 {
		if got := heard(); !slices.Equal(got, []string{"WATCHDOG=1"}) {
			t.Errorf("%q", got)
		}
	}
	hangs.Store(true)
	for range 3 {
		if err := <-starved; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	for { // those from before it hung
		told.SetReadDeadline(time.Now())
		if _, err := told.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	<-starved
	told.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := told.Read(make([]byte, 100)); err == nil {
		t.Errorf("fed with %d bytes while the proxy hangs", n)
	}
}
