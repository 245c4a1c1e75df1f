package door

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/secret"
)

// Guessing is slow for the address that does it, however many guess at once, and
// for no other; the right password is taken as soon as the guesses let up, and
// names who came. What was guessed, and under which name, is not in the log.
func TestGuessingPasswordsIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		came := ""
		door := &Password{Log: zerolog.New(&log), Want: func() (secret.Text, error) { return secret.New("right"), nil }}
		h := door.Before(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came = Operator(r.Context()) }))
		ask := func(from, name, password string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = from + ":1234"
			if password != "" {
				r.SetBasicAuth(name, password)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		began, looked := time.Now(), 0
		var mu sync.Mutex // guards looked
		var guessers sync.WaitGroup
		for i := range 1000 {
			guessers.Go(func() {
				if ask("192.0.2.1", "canary-name", fmt.Sprint("canary-guess", i)) == http.StatusUnauthorized {
					mu.Lock()
					looked++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		if took := ask("192.0.2.2", "ann", "right"); took != 200 || came != "ann" || !time.Now().Equal(began) {
			t.Errorf("another address: %d, %q, after %v", took, came, time.Since(began))
		}
		if ask("192.0.2.1", "", "") != http.StatusUnauthorized || !time.Now().Equal(began) {
			t.Error("who sends no password is held up")
		}
		guessers.Wait()
		if looked != guessesAtOnce || time.Since(began) < 30*time.Second {
			t.Errorf("%d of 1000 guesses were looked at within %v", looked, time.Since(began))
		}
		if ask("192.0.2.1", "bob", "right") != 200 || came != "bob" {
			t.Error("the right password is refused")
		}
		if n := strings.Count(log.String(), "192.0.2.1"); n != looked || strings.Contains(log.String(), "canary") {
			t.Errorf("%d lines: %.300s", n, log.String())
		}
		time.Sleep(guessesForget + time.Second)
		if began = time.Now(); ask("192.0.2.1", "x", "wrong") != http.StatusUnauthorized || time.Since(began) != firstDelay {
			t.Errorf("later a slip takes %v", time.Since(began))
		}
	})
}
