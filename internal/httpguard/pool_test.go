package httpguard

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Whose place was given up has none to win back: it would take another's.
func TestAPlaceThatWasGivenUpIsGone(t *testing.T) {
	p := newPool(1, 0)
	g := &Guard{}
	closed := map[*session]bool{}
	sessions := make([]*session, 2)
	for i := range sessions {
		s := &session{guard: g, addr: netip.MustParseAddr("192.0.2.1")}
		s.Conn = &closing{s: s, closed: closed}
		sessions[i] = s
		if !p.take(&s.head, s, 1) {
			t.Fatal("no room")
		}
	}
	if p.take(&sessions[0].head, sessions[0], 1) || closed[sessions[1]] || p.taken() != 1 {
		t.Errorf("closed: the first %v, the second %v; %d taken", closed[sessions[0]], closed[sessions[1]], p.taken())
	}
}

// Of the handshakes one that goes on is given up after those that are silent,
// however old it is.
func TestAHandshakeThatGoesOnStandsBehindSilentOnes(t *testing.T) {
	own, _ := identity(t, "proxy")
	g, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{Handshakes: 2})
	await := func(what string, come func(waiting []*session) bool) {
		t.Helper()
		for began := time.Now(); !come(g.handshakes.waiting()); time.Sleep(time.Millisecond) {
			if time.Since(began) > handshakeTime {
				t.Fatal(what)
			}
		}
	}
	var conns []net.Conn
	for n := range 3 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		conns = append(conns, c)
		if n < 2 {
			await("it does not come", func(waiting []*session) bool { return len(waiting) > n })
		}
		if n == 1 {
			io.WriteString(conns[0], "\x16\x03\x01")
			await("it stays the first to go", func(waiting []*session) bool {
				return len(waiting) > 0 && waiting[0].RemoteAddr().String() == conns[1].LocalAddr().String()
			})
		}
	}
	if _, err := bufio.NewReader(conns[1]).ReadByte(); err == nil || g.evicted.Load() != 1 {
		t.Errorf("the silent one is kept: %v; %d made room", err, g.evicted.Load())
	}
}
