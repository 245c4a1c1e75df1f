package egress_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/needs"
)

// Whatever a name leads to is judged when it is dialled: no private address
// and none of this machine gets so much as a connection, unless the settings
// name the host.
func TestPrivateAddressesAreRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	arrived := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			arrived <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ask := func(host string, named func(string) bool) error {
		way := egress.New(egress.Config{ByTransport: needs.ByTransport(), Patience: egress.Patience{AnswerWithin: time.Second}, MayBePrivate: named})
		defer way.CloseIdleConnections()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+net.JoinHostPort(host, port)+"/", nil)
		r.Header.Set("Authorization", "Bearer token")
		resp, err := way.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	for _, host := range []string{
		"127.0.0.1", "localhost", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fd00::1", "ff02::1", "224.0.0.1", "255.255.255.255",
		"0.1.2.3", "198.18.0.1", "198.19.255.254", "240.0.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.51.100.7", "203.0.113.9",
		"64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fec0::1", "::127.0.0.1",
	} {
		for name, named := range map[string]func(string) bool{"no rule": nil, "a rule for others": func(string) bool { return false }} {
			err := ask(host, named)
			if err == nil || !strings.Contains(err.Error(), "leads to a private address") {
				t.Errorf("%s, %s: %v", host, name, err)
			}
			if e, is := errors.AsType[*egress.Error](err); !is || e.Transient() || e.Sent != 0 {
				t.Errorf("%s, %s: it may go well the next time, or it was sent: %#v", host, name, e)
			}
		}
	}
	select {
	case from := <-arrived:
		t.Errorf("%s connected", from)
	default:
	}
	err = ask("127.0.0.1", func(hostport string) bool { return hostport == "127.0.0.1:"+port })
	select {
	case <-arrived:
	case <-time.After(5 * time.Second):
		t.Errorf("a host that the settings name is not dialled: %v", fmt.Sprint(err))
	}
}
