// Package door decides who comes in at a listener, before anything is made of
// what they ask: by which certificate, under which name, with which password.
package door

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/secret"
)

const (
	firstDelay      = 100 * time.Millisecond // of the answer to a wrong password; doubled with each
	longestDelay    = 3 * time.Second
	guessesAtOnce   = 16              // of one address, the one that is being answered included
	guessesForget   = 5 * time.Minute // after the last wrong one
	guessesRemember = 10_000          // addresses
)

// Password asks for the operators' password where one is set. What an
// address sends is looked at one after the other, and a wrong one is answered
// late: so an address has one guess in three seconds, however many connections
// it makes. Whoever sends none is no guesser.
type Password struct {
	Want func() (secret.Text, error) // an empty one asks nobody
	Log  zerolog.Logger

	mu       sync.Mutex // guards what follows
	guessers map[string]*guesser
}

// guesser is an address from which passwords come.
type guesser struct {
	places chan struct{} // of those who wait for their turn, or have it
	turn   chan struct{} // holds one while a password is looked at
	wrong  int           // so far; guarded by turn
	last   time.Time
}

// operatorKey is that of the user name with which an operator came in.
type operatorKey struct{}

// Operator returns the user name with which the operator of ctx came in: any
// name will do, and it is for the record only.
func Operator(ctx context.Context) string {
	name, _ := ctx.Value(operatorKey{}).(string)
	return name
}

// Before lets through to next whoever has the password.
func (d *Password) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := d.Want()
		if err != nil {
			http.Error(w, "the password file cannot be read or is empty", http.StatusInternalServerError)
			return
		}
		if want.Empty() {
			next.ServeHTTP(w, r)
			return
		}
		name, got, sent := r.BasicAuth()
		switch {
		case !sent:
			askForPassword(w)
		case d.right(w, r, got, want):
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, name)))
		}
	})
}

func askForPassword(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="dynproxy operators", charset="UTF-8"`)
	http.Error(w, "password required", http.StatusUnauthorized)
}

// right reports whether got is the password; if not, it has answered.
func (d *Password) right(w http.ResponseWriter, r *http.Request, got string, want secret.Text) bool {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	g := d.guesser(host)
	select {
	case g.places <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "3")
		http.Error(w, "too many passwords from this address at once; try again in 3 seconds", http.StatusTooManyRequests)
		return false
	}
	defer func() { <-g.places }()
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if same(got, want) {
		return true
	}
	g.wrong++
	d.Log.Warn().Str("remote", host).Int("wrong", g.wrong).Msg("a wrong password of operators")
	time.Sleep(min(longestDelay, firstDelay<<min(g.wrong-1, 10))) // who leaves before gains nothing
	askForPassword(w)
	return false
}

func (d *Password) guesser(host string) *guesser {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	g := d.guessers[host]
	if g != nil && now.Sub(g.last) > guessesForget && len(g.places) == 0 {
		g = nil
	}
	if g == nil {
		if d.guessers == nil || len(d.guessers) >= guessesRemember {
			d.guessers = d.recent(now)
		}
		g = &guesser{places: make(chan struct{}, guessesAtOnce), turn: make(chan struct{}, 1)}
		d.guessers[host] = g
	}
	g.last = now
	return g
}

// recent are those who are still being answered, or were a moment ago. It is
// called with mu held.
func (d *Password) recent(now time.Time) map[string]*guesser {
	kept := make(map[string]*guesser)
	for host, g := range d.guessers {
		if len(g.places) > 0 || now.Sub(g.last) < longestDelay {
			kept[host] = g
		}
	}
	return kept
}

func same(got string, want secret.Text) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
