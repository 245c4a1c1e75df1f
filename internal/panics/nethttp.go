package panics

import (
	"bytes"
	stdlog "log"
	"strings"

	"github.com/rs/zerolog"
)

// ServerLog takes what net/http says about connections to log, at a level where
// it does not drown the rest; a panic is an error there too. net/http quotes no
// header and no body.
func ServerLog(log zerolog.Logger) *stdlog.Logger { return stdlog.New(lines{log}, "", 0) }

type lines struct{ log zerolog.Logger }

func (l lines) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("http: panic serving")) || bytes.HasPrefix(p, []byte("http2: panic serving")) {
		// What was recovered, and may quote anything, stands in the first line.
		_, stack, _ := bytes.Cut(p, []byte("\n"))
		l.log.Error().Bytes("stack", stack).Msg(ourFault)
		return len(p), nil
	}
	l.log.Debug().Str("http", strings.TrimSpace(string(p))).Msg("connection")
	return len(p), nil
}
