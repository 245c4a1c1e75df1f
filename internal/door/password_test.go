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
		door := &Password{Log: zerolog.New(&log).Level(zerolog.InfoLevel), Want: func() (secret.Text, error) { return secret.New("right"), nil }}
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

// A host of IPv6 has more addresses than anybody can count: they are one source.
func TestTheAddressesOfOneIPv6NetworkGuessTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := &Password{Log: zerolog.Nop(), Want: func() (secret.Text, error) { return secret.New("right"), nil }}
		h := door.Before(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		ask := func(from, password string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = from
			r.SetBasicAuth("", password)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		if ask("[2001:db8::2]:1", "right") != http.StatusOK {
			t.Fatal("the right password is refused")
		}
		var mu sync.Mutex // guards codes
		codes := make(map[int]int)
		var guesses sync.WaitGroup
		began := time.Now()
		for i := range 200 {
			guesses.Go(func() {
				code := ask(fmt.Sprintf("[2001:db8::1:%x]:1234", i), fmt.Sprint("guess ", i))
				mu.Lock()
				codes[code]++
				mu.Unlock()
			})
		}
		synctest.Wait()
		if ask("[2001:db8:0:1::1]:1", "right") != http.StatusOK || ask("192.0.2.1:1", "right") != http.StatusOK || !time.Now().Equal(began) {
			t.Errorf("other networks wait %v behind guesses", time.Since(began))
		}
		guesses.Wait()
		// The name without letters is known from this network, and guesses under it.
		if codes[http.StatusUnauthorized] != guessesAtOnce || codes[http.StatusTooManyRequests] != 200-guessesAtOnce {
			t.Errorf("200 guesses of one network: %v", codes)
		}
	})
}

// Who has the right password does not wait behind guesses of its own address:
// not under a name that it came with before, not on a connection on which it
// came, and not behind an old script that sends one wrong password for ever.
// That gives a guesser no more guesses than it had.
func TestTheRightPasswordPassesGuessesOfItsOwnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := secret.New("right")
		door := &Password{Log: zerolog.Nop(), Want: func() (secret.Text, error) { return want, nil }}
		h := door.Before(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		ask := func(port int, name, password string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = fmt.Sprint("192.0.2.1:", port)
			r.SetBasicAuth(name, password)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		if ask(1, "scraper", "right") != 200 {
			t.Fatal("the right password is refused")
		}
		flood := func(name string) (looked func() int) {
			var guesses sync.WaitGroup
			var found sync.Map
			for i := range 200 {
				guesses.Go(func() {
					if ask(1000+i, name, fmt.Sprint(name, " guess ", i)) == http.StatusUnauthorized {
						found.Store(i, true)
					}
				})
			}
			synctest.Wait()
			return func() (n int) {
				guesses.Wait()
				found.Range(func(any, any) bool { n++; return true })
				return n
			}
		}
		began := time.Now()
		looked := flood("somebody")
		if ask(2, "scraper", "right") != 200 || ask(1, "another name", "right") != 200 || !time.Now().Equal(began) {
			t.Errorf("who was known waits %v behind guesses", time.Since(began))
		}
		if n := looked(); n != guessesAtOnce {
			t.Errorf("%d guesses were looked at within %v", n, time.Since(began))
		}
		// Guesses under the known name are as slow, and a connection that was known
		// has one guess at most.
		began = time.Now()
		if n := flood("scraper")(); n != guessesAtOnce || time.Since(began) < 30*time.Second {
			t.Errorf("under the known name: %d guesses were looked at within %v", n, time.Since(began))
		}
		began = time.Now()
		ask(1, "x", "a guess")
		ask(1, "x", "and another")
		if time.Since(began) < 2*longestDelay {
			t.Errorf("on a known connection two guesses take %v", time.Since(began))
		}
		door.Closed("192.0.2.1:2")
		if door.onOpenConnection("192.0.2.1:2") {
			t.Error("a closed connection is known")
		}
		// The same wrong one over and over is looked at once, and holds nobody up.
		ask(3, "old script", "once right")
		began = time.Now()
		for range 50 {
			if ask(3, "old script", "once right") != http.StatusUnauthorized {
				t.Error("a wrong password is let in")
			}
		}
		if ask(4, "new here", "right") != 200 || !time.Now().Equal(began) {
			t.Errorf("behind an old script it takes %v", time.Since(began))
		}
		// What was wrong is right after a change.
		want = secret.New("once right")
		if ask(3, "old script", "once right") != 200 {
			t.Error("a password that was wrong once is refused for ever")
		}
	})
}
