package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"

	"dynproxy/internal/opsclient"
)

// selfHeader marks what the proxy asks itself. Its value is known to this
// process alone; from anybody else it is a header like any other.
const selfHeader = "Dynproxy-Self"

// selfLook asks the proxy for an answer, by the way that callers come.
type selfLook struct {
	server *server
	word   string
	client *http.Client
}

func newSelfLook(h *server) *selfLook {
	transport := &http.Transport{DisableKeepAlives: true} // each time the whole way
	if h.config().TLSCertFile != "" {
		transport.TLSClientConfig = opsclient.OnlyCertificate(h.config().TLSCertFile)
	}
	return &selfLook{server: h, word: rand.Text(), client: &http.Client{Transport: transport}}
}

// before answers the proxy's own question. It touches what every call does.
func (s *selfLook) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if word := r.Header[selfHeader]; len(word) != 1 || word[0] != s.word {
			next.ServeHTTP(w, r)
			return
		}
		for t := range s.server.book.All() {
			s.server.budget(t)
			break
		}
		w.Header()[selfHeader] = []string{s.word}
		w.WriteHeader(http.StatusNoContent)
	})
}

// selfTries is how often alive asks where other processes listen too, and
// answer in our place.
const selfTries = 8

// alive reports why the proxy does not answer, nil if it does. While it drains
// nobody is let in any more, and it is alive as long as it takes.
func (s *selfLook) alive(ctx context.Context) error {
	var err error
	for range selfTries {
		rejected := s.server.guards.callers.Rejected()
		err = s.ask(ctx)
		said, _ := errors.AsType[*net.OpError](err)
		refused := said != nil && said.Op == "remote error" // by TLS, for want of a caller's certificate
		full := s.server.guards.callers.Rejected() > rejected
		if err == nil || refused || full || s.server.ops.draining.Load() {
			return nil
		}
		if !errors.Is(err, errAnotherProcess) {
			return err
		}
	}
	return err
}

func (s *selfLook) starved(err error) {
	s.server.log.Error().Str("reason", err.Error()).Msg("the proxy does not answer itself: systemd's watchdog is not fed")
}

var errAnotherProcess = errors.New("another process answers")

func (s *selfLook) ask(ctx context.Context) error {
	scheme := "http"
	if s.server.config().TLSCertFile != "" {
		scheme = "https"
	}
	address, err := opsclient.Address(s.server.config().Listen)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/", nil)
	if err != nil {
		return err
	}
	r.Header[selfHeader] = []string{s.word}
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.Header.Get(selfHeader) != s.word {
		return fmt.Errorf("%w: %s", errAnotherProcess, resp.Status)
	}
	return nil
}
