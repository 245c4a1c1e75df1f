package egress_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"dynproxy/internal/egress"
)

// A fault of ours in a goroutine of net/http's, at a dial or a handshake,
// costs one request.
func TestAFaultOfOurOwnCostsOneRequest(t *testing.T) {
	for name, spoil := range map[string]func(*egress.Config){
		"dial": func(c *egress.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) { panic("a-canary") }
		},
		"verify": func(c *egress.Config) { c.Roots = func() *x509.CertPool { panic("a-canary") } },
	} {
		var log bytes.Buffer
		_, client := organization(t, func(http.ResponseWriter, *http.Request) {}, func(_ *httptest.Server, c *egress.Config) {
			spoil(c)
			c.Log = zerolog.New(&log)
		})
		_, err := client.RoundTrip(request(t, "GET", ""))
		if e, ok := errors.AsType[*egress.Error](err); !ok || e.Sent != 0 || !strings.Contains(e.Error(), "its log says where") {
			t.Errorf("%s: %v", name, err)
		}
		if text := log.String(); !strings.Contains(text, `"where":"`+name+`"`) || !strings.Contains(text, `"level":"error"`) || strings.Contains(text, "a-canary") {
			t.Errorf("%s: the log: %s", name, text)
		}
	}
}
