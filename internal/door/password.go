// Package door decides who comes in at a listener, before anything is made of
// what they ask: by which certificate, under which name, with which password.
package door

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/problem"
	"dynproxy/internal/secret"
	"dynproxy/internal/source"
)

const (
	firstDelay      = 100 * time.Millisecond // of the answer to a wrong password; doubled with each
	longestDelay    = 3 * time.Second
	guessesAtOnce   = 16              // of one source, the one that is being answered included
	guessesForget   = 5 * time.Minute // after the last wrong one
	guessesRemember = 10_000          // sources
	wrongRemember   = 32              // passwords of one source that were wrong
	provenFor       = 24 * time.Hour  // a name, after the right password came with it
	provenRemember  = 1000
)

// Password asks for the operators' password where one is set. What a source
// sends (source.Of) is looked at one after the other, and a wrong one is answered
// late: so it has one guess in three seconds, however many connections it makes.
// Whoever sends none is no guesser.
//
// Who has the right one need not wait behind guesses of its own source, where
// that gives a guesser nothing: a name that came with it from there has a queue
// of its own, a connection on which it came has none, and a password that was
// found wrong, which an old script sends again and again, is no guess any more.
type Password struct {
	Want func() (secret.Text, error) // an empty one asks nobody
	Log  zerolog.Logger

	wrong atomic.Int64

	mu       sync.Mutex // guards what follows
	guessers map[prover]*guesser
	proven   map[prover]time.Time // when the right password came last
	open     map[string]bool      // connections on which it came last
	salt     [sha256.Size]byte    // of what is remembered of wrong ones
}

// prover is who comes with a password.
type prover struct {
	from  netip.Prefix
	name  string
	known bool // the right one came under this name from there; else it has none
}

// guesser is a source from which passwords come.
type guesser struct {
	places chan struct{} // of those who wait for their turn, or have it
	turn   chan struct{} // holds one while a password is looked at
	wrong  int           // so far; guarded by turn
	last   time.Time
	known  [][sha256.Size]byte // passwords that were wrong, the latest last; guarded by Password.mu
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
			problem.New(problem.Internal, "The file of DYNPROXY_OPS_PASSWORD_FILE cannot be read or is empty; nobody can come in until it holds the password.").Answer(w)
			return
		}
		if want.Empty() {
			next.ServeHTTP(w, r)
			return
		}
		name, got, sent := r.BasicAuth()
		switch {
		case !sent:
			askForPassword(w, noPassword)
		case d.right(w, r, name, got, want):
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, name)))
		}
	})
}

func askForPassword(w http.ResponseWriter, why string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="dynproxy operators", charset="UTF-8"`)
	problem.New(problem.Unauthorized, "%s Send that of DYNPROXY_OPS_PASSWORD or DYNPROXY_OPS_PASSWORD_FILE by HTTP Basic, with your name as the user's.", why).Answer(w)
}

const (
	noPassword    = "Operators come in with their password."
	wrongPassword = "This is not the operators' password."
)

// right reports whether got is the password; if not, it has answered.
func (d *Password) right(w http.ResponseWriter, r *http.Request, name, got string, want secret.Text) bool {
	from := source.OfRemote(r.RemoteAddr)
	if d.onOpenConnection(r.RemoteAddr) {
		if same(got, want) {
			return true
		}
		d.Closed(r.RemoteAddr) // for what is its next one
	}
	g := d.guesser(prover{from: from, name: name})
	if d.knownWrong(g, got, want) {
		d.wrong.Add(1)
		askForPassword(w, wrongPassword)
		return false
	}
	select {
	case g.places <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "3")
		e := problem.New(problem.Unauthorized, "Too many passwords come from this address at once. Try again in 3 seconds.")
		e.HTTPStatus = http.StatusTooManyRequests
		e.Answer(w)
		return false
	}
	defer func() { <-g.places }()
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if same(got, want) {
		d.prove(r.RemoteAddr, prover{from: from, name: name})
		return true
	}
	g.wrong++
	d.wrong.Add(1)
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	d.Log.Warn().Str("remote", host).Int("wrong", g.wrong).Msg("a wrong password of operators")
	time.Sleep(min(longestDelay, firstDelay<<min(g.wrong-1, 10))) // who leaves before gains nothing
	d.rememberWrong(g, got, want)
	askForPassword(w, wrongPassword)
	return false
}

// Closed is told that the connection from remote has ended: what came on it
// says nothing of the next from there.
func (d *Password) Closed(remote string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, remote)
}

// onOpenConnection reports whether the last password that came from remote was
// right.
func (d *Password) onOpenConnection(remote string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[remote]
}

// prove notes that the right password came from there.
func (d *Password) prove(remote string, who prover) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open, d.proven = make(map[string]bool), make(map[prover]time.Time)
	}
	if len(d.proven) >= provenRemember {
		clear(d.proven)
	}
	d.open[remote], d.proven[who] = true, time.Now()
}

// knownWrong reports whether got was found wrong before, beside the same want.
func (d *Password) knownWrong(g *guesser, got string, want secret.Text) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(g.known, d.trace(got, want))
}

func (d *Password) rememberWrong(g *guesser, got string, want secret.Text) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(g.known) == wrongRemember {
		g.known = slices.Delete(g.known, 0, 1)
	}
	g.known = append(g.known, d.trace(got, want))
}

// trace is what is kept of a password that was tried beside want. It is called
// with mu held.
func (d *Password) trace(got string, want secret.Text) [sha256.Size]byte {
	if d.salt == [sha256.Size]byte{} {
		rand.Read(d.salt[:])
	}
	sum := hmac.New(sha256.New, d.salt[:])
	of := sha256.Sum256([]byte(want.Reveal()))
	sum.Write(of[:])
	sum.Write([]byte(got))
	return [sha256.Size]byte(sum.Sum(nil))
}

// Wrong is how many wrong passwords have come.
func (d *Password) Wrong() int64 { return d.wrong.Load() }

// guesser is the queue in which a password of that prover waits.
func (d *Password) guesser(who prover) *guesser {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if at, known := d.proven[who]; known && now.Sub(at) < provenFor {
		who.known = true
	} else {
		who.name = ""
	}
	g := d.guessers[who]
	if g == nil || now.Sub(g.last) > guessesForget {
		if d.guessers == nil || len(d.guessers) >= guessesRemember {
			d.guessers = d.recent(now)
		}
		g = &guesser{places: make(chan struct{}, guessesAtOnce), turn: make(chan struct{}, 1)}
		d.guessers[who] = g
	}
	g.last = now
	return g
}

// recent are those who are still being answered, or were a moment ago. It is
// called with mu held.
func (d *Password) recent(now time.Time) map[prover]*guesser {
	kept := make(map[prover]*guesser)
	for who, g := range d.guessers {
		if len(g.places) > 0 || now.Sub(g.last) < longestDelay {
			kept[who] = g
		}
	}
	return kept
}

func same(got string, want secret.Text) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
