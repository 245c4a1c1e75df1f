package panics

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// What net/http itself says of a panic is an error; the rest is for those who
// look for it. The value of a panic may quote anything.
func TestPanicsThatNetHTTPTellsAreErrors(t *testing.T) {
	var log strings.Builder
	out := ServerLog(zerolog.New(&log))
	for _, serving := range []string{"http", "http2"} {
		log.Reset()
		out.Printf("%s: panic serving %v: %v\n%s", serving, "127.0.0.1:1", "canary", "goroutine 7 [running]:\nmain.go:1")
		out.Print("http: TLS handshake error")
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"level":"error"`) || !strings.Contains(lines[0], "main.go:1") || strings.Contains(lines[0], "canary") || !strings.Contains(lines[1], `"level":"debug"`) {
			t.Errorf("%s: %s", serving, log.String())
		}
	}
}
