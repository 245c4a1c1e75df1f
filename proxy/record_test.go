package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/egress"
	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
	"dynproxy/proxy"
)

// Wherever a call spends its time, it counts as what it was, once: the parts
// add up to the whole.
func TestThePartsOfACallsTimeAddUp(t *testing.T) {
	t.Parallel()
	const delay = 400 * time.Millisecond
	queue := func(c *calls.Call) time.Duration { return c.Queue }
	upstream := func(c *calls.Call) time.Duration { return c.Upstream }
	for name, s := range map[string]struct {
		org, entra *emulator.Fault
		settings   string
		closed     bool // whether the organization takes no connections
		body       io.Reader
		part       func(*calls.Call) time.Duration
		least      time.Duration
		attempts   int // those that were sent
		unsent     int // those that were not
		status     int
	}{
		"throttled":      {org: &emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Second, Times: 1}, part: queue, least: 900 * time.Millisecond, attempts: 2, status: 200},
		"refused late":   {org: &emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Second, Times: 1}, settings: "QUEUE_WAIT=100ms", part: queue, attempts: 1, unsent: 1, status: 429},
		"no token":       {entra: &emulator.Fault{Kind: emulator.Status, Status: 503}, part: func(c *calls.Call) time.Duration { return c.Token }, unsent: 1, status: 502},
		"out of reach":   {closed: true, part: func(c *calls.Call) time.Duration { return c.Retry }, least: 600 * time.Millisecond, unsent: 3, status: 502},
		"a slow token":   {entra: &emulator.Fault{Kind: emulator.Slow, Delay: delay}, part: func(c *calls.Call) time.Duration { return c.Token }, least: delay, attempts: 1, status: 200},
		"slow":           {org: &emulator.Fault{Kind: emulator.Slow, Delay: delay}, part: upstream, least: delay, attempts: 1, status: 200},
		"slow and again": {org: &emulator.Fault{Kind: emulator.Status, Status: 503, Times: 2}, part: func(c *calls.Call) time.Duration { return c.Retry }, least: 600 * time.Millisecond, attempts: 3, status: 200},
		"a slow answer":  {org: &emulator.Fault{Kind: emulator.Stall, Delay: delay, After: 20}, part: func(c *calls.Call) time.Duration { return c.Answer }, least: delay / 2, attempts: 1, status: 200},
		"a slow body":    {body: &slowly{strings.Repeat(" ", 3<<20) + `{"name":"slow"}`, delay}, part: func(c *calls.Call) time.Duration { return c.Body + c.Upstream }, least: delay / 2, attempts: 1, status: 204},
		"nothing at all": {part: upstream, attempts: 1, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan calls.Call, 1)
			c := newTestProxy(t, tenant("contoso", s.settings), func(_ map[string]string, p *proxy.Parts) {
				if s.closed {
					p.Wire = egress.New(egress.Config{ByTransport: needs.ByTransport(), Dial: func(context.Context, string, string) (net.Conn, error) {
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
					}})
				}
				p.OnCallDone = func(call *calls.Call) {
					kept := *call
					kept.Tries = append([]calls.Try(nil), call.Tries...)
					done <- kept
				}
			})
			if s.org != nil {
				c.inject(*s.org)
			}
			if s.entra != nil {
				if err := c.emu.Entra().Inject(*s.entra); err != nil {
					t.Fatal(err)
				}
			}
			method, path := http.MethodGet, "/contoso/api/data/v9.2/WhoAmI"
			if s.body != nil {
				method, path = http.MethodPost, create
			}
			r, err := http.NewRequest(method, c.server.URL+path, s.body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			was := <-done
			if was.Status != s.status || resp.StatusCode != s.status || was.Attempts != s.attempts || len(was.Tries) != s.attempts+s.unsent {
				t.Errorf("%d, %+v", resp.StatusCode, was)
			}
			if got := s.part(&was); got < s.least {
				t.Errorf("its part has %v of %v", got, s.least)
			}
			sum := was.Queue + was.Token + was.Upstream + was.Retry + was.Body + was.Answer + was.Own
			if off := (sum - was.Total).Abs(); off > was.Total/20 {
				t.Errorf("the parts are %v of %v: %+v", sum, was.Total, was)
			}
			// The attempts have the same times as the whole.
			var of calls.Try
			for _, try := range was.Tries {
				of.Queue, of.Token, of.Upstream, of.Pause = of.Queue+try.Queue, of.Token+try.Token, of.Upstream+try.Upstream, of.Pause+try.Pause
			}
			if fmt.Sprint(of.Queue, of.Token, of.Upstream, of.Pause) != fmt.Sprint(was.Queue, was.Token, was.Upstream, was.Retry) {
				t.Errorf("the attempts have %+v, the call %+v", of, was)
			}
		})
	}
}

// slowly is a text that pauses in its middle.
type slowly struct {
	text  string
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	if len(s.text) < 2<<20 {
		time.Sleep(s.pause)
		s.pause = 0
	}
	n := copy(p, s.text)
	s.text = s.text[n:]
	return n, nil
}
