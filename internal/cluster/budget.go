package cluster

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	testing := 0.0
	if s.Testing {
		testing = 1
	}
	told := numbers(float64(s.Sequence), micros(lease), micros(s.Clock), micros(s.After), micros(s.Before), micros(s.Span),
		float64(s.Requests), float64(s.Millis), float64(s.InFlight), float64(s.Pocket), s.Pending, s.Guess,
		s.Rate, float64(s.Burst), s.Limit, s.MillisLimit, testing,
		float64(s.Need), float64(s.Want), float64(s.NeedReserved), float64(s.WantReserved), s.Kept, micros(s.KeptFor), s.Weight,
		float64(s.InUse), float64(s.Places), float64(s.PlacesWant), float64(s.PlacesLimit), float64(s.Learning), float64(max(b.Size(), s.Among)), micros(s.Away))
	var waiting, settled []float64
	for _, w := range s.Waiting {
		waiting = append(waiting, float64(w.Caller), w.Weight)
	}
	for _, a := range s.Settled {
		settled = append(settled, micros(a.Age), float64(a.Requests), float64(a.Millis))
	}
	return []any{b.client.Name(), s.Generation, s.Learned, told, numbers(waiting...), numbers(settled...)}
}

func micros(d time.Duration) float64 { return float64(d.Microseconds()) }

// numbers are a text that struct.unpack of Lua reads. What has no end is greater
// than any limit.
func numbers(all ...float64) []byte {
	text := make([]byte, 0, 8*len(all))
	for _, f := range all {
		if math.IsNaN(f) {
			f = 0
		}
		text = binary.LittleEndian.AppendUint64(text, math.Float64bits(math.Max(-1e15, math.Min(f, 9e15))))
	}
	return text
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
	g := &limits.Grant{Generation: r.text()}
	n := packed{r.text()}
	g.Clock = n.micros()
	g.Requests, g.Reserved, g.Places, g.Target = n.count(), n.count(), n.count(), n.count()
	g.Sum, g.Millis, g.HeldByOthers, g.MillisHeldByOthers = n.next(), n.next(), n.next(), n.next()
	g.PlacesHeldByOthers, g.PlacesUsedByOthers, g.WeightOfOthers = n.count(), n.count(), n.next()
	g.Edge, g.Short, g.Young = n.micros(), n.count() != 0, n.count() != 0
	g.Learning = int64(n.next())
	g.Ring = limits.Ring{Width: n.micros(), Newest: int64(n.next())}
	gates := n.count()
	if learned := r.text(); learned != "" {
		g.Learned = []byte(learned)
	}
	g.Ring.Bytes = r.text()
	for n := (packed{r.text()}); gates > 0 && n.rest != ""; gates-- {
		g.Gates = append(g.Gates, n.count())
	}
	if r.bad || gates != 0 || g.Ring.Width <= 0 {
		return nil, errAnswer
	}
	return g, nil
}

// packed reads numbers that struct.pack of Lua has written; none is left where
// there are no more.
type packed struct{ rest string }

func (p *packed) next() float64 {
	if len(p.rest) < 8 {
		p.rest = ""
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64([]byte(p.rest[:8])))
	p.rest = p.rest[8:]
	return f
}

func (p *packed) count() int            { return int(p.next()) }
func (p *packed) micros() time.Duration { return time.Duration(p.next()) * time.Microsecond }

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
