package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/limits"
)

//go:embed budget.lua
var budgetSource string

// lease is how long what a proxy holds is its own without a further word.
const lease = 5 * time.Second

// Budgets keeps the budgets of application users for all proxies: it is the
// limits.Store of each of them.
type Budgets struct {
	client redisOf
	script Script
	log    zerolog.Logger
	told   atomic.Bool // that a record of another version was found
}

// redisOf is what budgets need of a Client.
type redisOf interface {
	Name() string
	Size() int
	Key(tag, name string) string
	Eval(ctx context.Context, s *Script, keys []string, args ...any) (any, error)
}

// Budgets returns the budgets that all proxies spend together.
func (c *Client) Budgets() *Budgets {
	return &Budgets{client: c, script: Script{Source: budgetSource}, log: c.log}
}

// Size is how many proxies there are, as far as is known.
func (b *Budgets) Size() int { return max(1, b.client.Size()) }

var (
	errVersion = fmt.Errorf("another version of the program keeps this budget, and its record cannot be read: %w", limits.ErrApart)
	errAnswer  = errors.New("the answer of Redis cannot be read")
	errLateOne = errors.New("a later statement has been heard already")
)

// Exchange is limits.Store's.
func (b *Budgets) Exchange(ctx context.Context, key limits.Key, s *limits.Statement) (*limits.Grant, error) {
	tag := key.Organization + "/" + key.ClientID
	keys := []string{b.client.Key(tag, "budget"), b.client.Key(tag, "window")}
	got, err := b.client.Eval(ctx, &b.script, keys, b.statement(s)...)
	if errors.Is(err, errAlone) {
		return nil, fmt.Errorf("%w: %w", limits.ErrApart, err)
	}
	if err != nil {
		return nil, err
	}
	grant, err := readGrant(got)
	if errors.Is(err, errVersion) && b.told.CompareAndSwap(false, true) {
		b.log.Warn().Str("organization", key.Organization).
			Msg("Another version of the program keeps the shared budgets, and their records cannot be read. This proxy keeps to its share of the limits until all are of one version")
	}
	return grant, err
}

// statement is ARGV of the script.
func (b *Budgets) statement(s *limits.Statement) []any {
	args := make([]any, 0, 42+2*len(s.Waiting)+3*len(s.Settled))
	args = append(args, b.client.Name(), s.Generation, s.Sequence, micros(lease), micros(s.Clock), micros(s.After), micros(s.Before), micros(s.Span),
		s.Requests, s.Millis, s.InFlight, s.Pocket, decimal(s.Pending), decimal(s.Guess),
		decimal(s.Rate), s.Burst, decimal(s.Limit), decimal(s.MillisLimit), bit(s.Testing),
		s.Need, s.Want, s.NeedReserved, s.WantReserved, decimal(s.Kept), micros(s.KeptFor), decimal(s.Weight),
		s.InUse, s.Places, s.PlacesWant, s.PlacesLimit,
		s.Learning, s.Learned, b.Size(), len(s.Waiting))
	for _, w := range s.Waiting {
		args = append(args, w.Caller, decimal(w.Weight))
	}
	for _, a := range s.Settled {
		args = append(args, micros(a.Age), a.Requests, a.Millis)
	}
	return args
}

func micros(d time.Duration) int64 { return d.Microseconds() }

func bit(is bool) int {
	if is {
		return 1
	}
	return 0
}

// decimal is a number as Lua reads it; what has no end is greater than any limit.
func decimal(f float64) string {
	if math.IsNaN(f) {
		f = 0
	}
	return strconv.FormatFloat(math.Max(-1e15, math.Min(f, 1e15)), 'f', -1, 64)
}

// readGrant reads what the script returns.
func readGrant(got any) (*limits.Grant, error) {
	a, _ := got.([]any)
	r := answer{fields: a}
	switch r.text() {
	case "ok":
	case "unknown":
		return &limits.Grant{Unknown: true}, nil
	case "version":
		return nil, errVersion
	case "late":
		return nil, errLateOne
	default:
		return nil, errAnswer
	}
	g := &limits.Grant{Generation: r.text(), Clock: r.micros()}
	g.Requests, g.Reserved, g.Places, g.Target = r.count(), r.count(), r.count(), r.count()
	g.Sum, g.Millis, g.HeldByOthers, g.MillisHeldByOthers = r.number(), r.number(), r.number(), r.number()
	g.PlacesHeldByOthers, g.PlacesUsedByOthers, g.WeightOfOthers = r.count(), r.count(), r.number()
	g.Edge, g.Short, g.Young = r.micros(), r.count() != 0, r.count() != 0
	g.Learning = int64(r.count())
	if learned := r.text(); learned != "" {
		g.Learned = []byte(learned)
	}
	g.Ring = limits.Ring{Width: r.micros(), Newest: int64(r.count()), Bytes: r.text()}
	gates, _ := r.next().([]any)
	for _, n := range gates {
		n, _ := n.(int64)
		g.Gates = append(g.Gates, int(n))
	}
	if r.bad {
		return nil, errAnswer
	}
	return g, nil
}

// answer reads a list of Redis from its start.
type answer struct {
	fields []any
	bad    bool // something was missing, or of another kind
}

func (a *answer) next() any {
	if len(a.fields) == 0 {
		a.bad = true
		return nil
	}
	v := a.fields[0]
	a.fields = a.fields[1:]
	return v
}

func (a *answer) text() string {
	s, ok := a.next().(string)
	a.bad = a.bad || !ok
	return s
}

func (a *answer) count() int {
	n, ok := a.next().(int64)
	a.bad = a.bad || !ok
	return int(n)
}

func (a *answer) number() float64       { return float64(a.count()) }
func (a *answer) micros() time.Duration { return time.Duration(a.count()) * time.Microsecond }
