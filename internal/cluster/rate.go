package cluster

import (
	"context"
	_ "embed"
	"strconv"
	"time"
)

//go:embed rate.lua
var rateSource string

// Rates keeps the rates of callers for all proxies: it is the callers.Rates of
// each of them.
type Rates struct {
	client *Client
	script Script
}

// Rates returns the rates of callers, which all proxies keep together.
func (c *Client) Rates() *Rates { return &Rates{client: c, script: Script{Source: rateSource}} }

// Size is how many proxies there are, as far as is known.
func (r *Rates) Size() int { return max(1, r.client.Size()) }

// Take is callers.Rates's.
func (r *Rates) Take(ctx context.Context, name string, rate float64, burst, want, back int) (int, time.Duration, error) {
	got, err := r.client.Eval(ctx, &r.script, []string{r.client.Key("caller/"+name, "rate")}, strconv.FormatFloat(rate, 'f', -1, 64), burst, want, back)
	if err != nil {
		return 0, 0, err
	}
	fields, _ := got.([]any)
	a := answer{fields: fields}
	if a.text() != "ok" {
		return 0, 0, errVersion
	}
	taken, wait := a.count(), time.Duration(a.count())*time.Microsecond
	if a.bad {
		return 0, 0, errAnswer
	}
	return taken, wait, nil
}
