package emulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits are the service protection limits of an application user on one web
// server. A limit that is zero is not enforced.
type Limits struct {
	// Requests may arrive, and ExecutionTime be spent, in any Window (five
	// minutes if zero).
	Requests      int
	ExecutionTime time.Duration
	Window        time.Duration
	// Concurrency is how many requests may be in flight.
	Concurrency int
	// Servers is how many web servers share the work, each with a count of its
	// own; one if zero. The ARRAffinity cookie pins a client to one, else they
	// take turns.
	Servers int
	// MinExecution is charged to ExecutionTime for each request at least: the
	// emulator is faster than the service that it stands for.
	MinExecution time.Duration
	// Promised is the number of requests from which the rate limit header
	// counts down; Requests if zero.
	Promised int
	// Silent leaves the rate limit headers and the hint out.
	Silent bool
	// DOPHint is sent as x-ms-dop-hint; 4 if zero.
	DOPHint int
}

// wireLimits are Limits in JSON.
type wireLimits struct {
	Requests      int  `json:"requests"`
	ExecutionTime span `json:"execution_time"`
	Window        span `json:"window"`
	Concurrency   int  `json:"concurrency"`
	Servers       int  `json:"servers"`
	MinExecution  span `json:"min_execution"`
	DOPHint       int  `json:"dop_hint"`
	Promised      int  `json:"promised,omitempty"`
	Silent        bool `json:"silent,omitempty"`
}

// MarshalJSON writes the limits as the control API knows them.
func (l Limits) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireLimits{l.Requests, span(l.ExecutionTime), span(l.Window), l.Concurrency, l.Servers,
		span(l.MinExecution), l.DOPHint, l.Promised, l.Silent})
}

// UnmarshalJSON reads them back and refuses a field that it does not know.
func (l *Limits) UnmarshalJSON(data []byte) error {
	var v wireLimits
	if err := strictJSON(data, &v); err != nil {
		return err
	}
	*l = Limits{Requests: v.Requests, ExecutionTime: time.Duration(v.ExecutionTime), Window: time.Duration(v.Window), Concurrency: v.Concurrency,
		Servers: v.Servers, MinExecution: time.Duration(v.MinExecution), Promised: v.Promised, Silent: v.Silent, DOPHint: v.DOPHint}
	return nil
}

// limitKind is one of the three limits, in the words of Dataverse.
type limitKind struct {
	code string
}

var (
	requestsLimit    = limitKind{"0x80072322"}
	executionLimit   = limitKind{"0x80072321"}
	concurrencyLimit = limitKind{"0x80072326"}
)

// overuse is a refusal by one of the limits.
type overuse struct {
	limitKind
	message    string
	retryAfter time.Duration
}

// throttle counts what each application user does on each web server. The
// zero value enforces nothing.
type throttle struct {
	mu     sync.Mutex // guards what follows
	limits Limits
	turn   int // of the server that takes the next request without a cookie
	uses   map[place]*usage
}

// place is an application user on a web server.
type place struct {
	user   string
	server int
}

// set changes the limits. What was counted stays counted.
func (t *throttle) set(l Limits) {
	if l.Window <= 0 {
		l.Window = 5 * time.Minute
	}
	l.Servers = max(l.Servers, 1)
	if l.DOPHint == 0 {
		l.DOPHint = 4
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = l
}

func (t *throttle) current() Limits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// server says which web server answers: the one that the cookie names, or the
// next in turn.
func (t *throttle) server(cookie string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.limits.Servers {
		if cookie == serverName(i) {
			return i
		}
	}
	t.turn++
	return t.turn % t.limits.Servers
}

// serverName is the value of the ARRAffinity cookie of a web server.
func serverName(server int) string {
	return strings.ReplaceAll(guid("web server", server)+guid("farm", server), "-", "")
}

// enter counts a request in, or refuses it. done counts it out; it is nil
// after a refusal. Refused requests spend nothing.
func (t *throttle) enter(at place) (done func(), refused *overuse) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.usage(at)
	u.forget(now.Add(-t.limits.Window))
	if refused := u.judge(now, t.limits); refused != nil {
		return nil, refused
	}
	u.inFlight++
	u.arrivals = append(u.arrivals, now)
	return sync.OnceFunc(func() { t.leave(u, now) }), nil
}

func (t *throttle) leave(u *usage, entered time.Time) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	u.inFlight--
	spent := max(now.Sub(entered), t.limits.MinExecution)
	u.spells = append(u.spells, spell{now, spent})
	u.spent += spent
}

// usage finds what was counted at a place; t.mu is held.
func (t *throttle) usage(at place) *usage {
	if t.uses == nil {
		t.uses = map[place]*usage{}
	}
	u := t.uses[at]
	if u == nil {
		u = &usage{}
		t.uses[at] = u
	}
	return u
}

// remaining gives the values of the two rate limit headers, "" for a limit
// that is not enforced. The seconds have a thousands comma, as Dataverse
// writes them.
func (t *throttle) remaining(at place) (requests, seconds string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.usage(at)
	u.forget(time.Now().Add(-t.limits.Window))
	if promised := cmp.Or(t.limits.Promised, t.limits.Requests); promised > 0 {
		requests = strconv.Itoa(max(0, promised-len(u.arrivals)))
	}
	if t.limits.ExecutionTime > 0 {
		left := max(0, t.limits.ExecutionTime-u.spent)
		hundredths := left.Milliseconds() / 10
		seconds = fmt.Sprintf("%s.%02d", commas(hundredths/100), hundredths%100)
	}
	return requests, seconds
}

// commas writes n with a comma before every third digit from the right.
func commas(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
