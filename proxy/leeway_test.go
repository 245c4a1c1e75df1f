package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/needs"
	"dynproxy/internal/spool"
	"dynproxy/proxy"
)

// Callers that stall in their uploads hold no place in their tenant's budget.
func TestStalledUploadsHoldNoPlace(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "CONCURRENCY=4\nQUEUE_WAIT=2s"), spooled(&spool.Place{Dir: t.TempDir()}))
	var conns []io.Closer
	for range 12 {
		conn := c.dial()
		conns = append(conns, conn)
		fmt.Fprintf(conn, "PATCH /contoso/api/data/v9.2/accounts(1)/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 20000000\r\n\r\n")
		conn.Write(make([]byte, 2<<20))
	}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	if a := c.get("/contoso/api/data/v9.2/WhoAmI"); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A body that trickles gives signs of life, and is given up all the same.
func TestATrickleIsGivenUp(t *testing.T) {
	t.Parallel()
	const idle = 400 * time.Millisecond
	trickle := entrance(func(e *proxy.AccessPolicy) { e.BodyIdle, e.AnswerIdle, e.MinRate = idle, idle, 64<<10 })
	t.Run("up", func(t *testing.T) {
		c := newTestProxy(t, trickle)
		conn := c.dial()
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: 1000000\r\n\r\n", create, jsonType)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		signs := 0
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(idle / 10):
					conn.Write([]byte(" "))
					signs++
				}
			}
		})
		head := make([]byte, 12)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := io.ReadFull(conn, head)
		close(stop)
		wg.Wait()
		// Ten of them take the time that there is; the rest is for a busy machine.
		if err != nil || string(head) != "HTTP/1.1 400" || signs > 100 {
			t.Errorf("%q %v after %d signs of life", head, err, signs)
		}
	})
	t.Run("down", func(t *testing.T) {
		stopped := make(chan struct{})
		c := newTestProxy(t, trickle, organization(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(stopped)
			w.Header().Set("Content-Type", "application/octet-stream")
			io.Copy(w, zeros{})
		}))
		conn := c.dial()
		defer conn.Close()
		io.WriteString(conn, "GET /contoso/api/data/v9.2/x/$value HTTP/1.1\r\nHost: localhost\r\n\r\n")
		end := time.After(30 * time.Second)
		for {
			select {
			case <-stopped:
				return
			case <-end:
				t.Fatal("it goes on")
			case <-time.After(idle / 4):
				conn.SetReadDeadline(time.Now().Add(idle))
				conn.Read(make([]byte, 1024))
			}
		}
	})
}

// What the proxy waits for on the other side is nobody's stall: not a pause of
// the organization in its answer, nor its slowness in taking a body.
func TestPausesOfTheOrganizationAreNotTheCallers(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second // so that a busy machine is no stall
	const pause = idle + idle/4
	for name, contentType := range map[string]string{"json": "application/json", "file": "application/octet-stream"} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				if name != "json" || protocol != "HTTP/1.1" {
					needs.Long(t)
				}
				t.Parallel()
				var slow atomic.Bool
				c := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.BodyIdle, e.AnswerIdle, e.MinRate = idle, idle, 512 }),
					spooled(&spool.Place{Dir: t.TempDir(), Each: 1 << 20}),
					organization(t, func(w http.ResponseWriter, r *http.Request) {
						wait := func() {
							if slow.Load() {
								time.Sleep(pause)
							}
						}
						wait()
						io.Copy(io.Discard, r.Body)
						w.Header().Set("Content-Type", contentType)
						for _, piece := range []string{`{"value":[` + strings.Repeat(" ", 100_000), `]}`} {
							io.WriteString(w, piece)
							w.(http.Flusher).Flush()
							wait()
						}
					}))
				client := c.client(protocol)
				body := jsonOf(8 << 20)
				for round := range 2 { // on one connection
					slow.Store(round == 0)
					resp, err := client.Post(c.server.URL+create, contentType, bytes.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					text, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || len(text) != 100_012 {
						t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(text), err)
					}
					time.Sleep(pause)
				}
			})
		}
	}
}

// 1xx answers, however late, do not use up what the caller has for the rest.
func TestEarlyHintsAndPauses(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	const pause = idle + idle/4
	c := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.AnswerIdle = idle }), organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		time.Sleep(pause)
		w.WriteHeader(http.StatusEarlyHints)
		time.Sleep(pause)
		io.WriteString(w, "whole")
	}))
	for range 2 {
		resp, err := c.client("HTTP/1.1").Get(c.server.URL + "/contoso/api/data/v9.2/x")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != "whole" {
			t.Errorf("%q %v", text, err)
		}
	}
}

// A body that does not come as it was announced is its caller's fault, which is
// told what is wrong with it.
func TestABodyThatDoesNotComeIsTheCallersFault(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ request, words string }{
		"broken chunk": {"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nxyz\r\n", "broke off"},
		"stall":        {"Content-Length: 10\r\n\r\n{", "DYNPROXY_BODY_IDLE_TIMEOUT"},
	} {
		c := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.BodyIdle = 200 * time.Millisecond }))
		got := c.raw("POST " + create + " HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "\r\n" + x.request)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "Dynproxy-Error: bad_request") || !strings.Contains(got, x.words) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
