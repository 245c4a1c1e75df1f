package main

import (
	"bytes"
	"fmt"
	"time"
)

// goal is the most that a ratio of ours may be.
type goal struct {
	of   string // the peer beside which it stands
	most float64
}

// work is a call that all make, to compare what it costs.
type work struct {
	name, label          string
	method, path, header string
	body                 []byte
	calls, callers       int // of one peer in a round, and at once
	goals                []goal
}

const isJSON = "Content-Type: application/json\r\n"

var works = []work{
	{"1k", "1 KB", "GET", "small", "", nil, 2000, 8, []goal{{"nginx", 3.0}, {"bare ReverseProxy", 0.8}, {"Caddy", 0.5}}},
	{"post", "POST 10 KB", "POST", "accounts", isJSON, rows("http://proxy.example/contoso", 10), 1500, 8, []goal{{"nginx", 2.9}}},
	{"60k", "60 KB, length", "GET", "page", "", nil, 600, 8, []goal{{"nginx", 1.7}}},
	{"60k-chunked", "60 KB, chunked", "GET", "page-chunked", "", nil, 600, 8, []goal{{"nginx", 1.7}}},
	{"5m", "5 MB, length", "GET", "large", "", nil, 12, 2, []goal{{"nginx", 0.60}}},
	{"5m-chunked", "5 MB, chunked", "GET", "large-chunked", "", nil, 12, 2, []goal{{"nginx", 0.60}}},
	{"5m-gzip", "5 MB, gzip from the organization", "GET", "large-gzip", "", nil, 12, 2, []goal{{"nginx", 0.95}}},
	{"batch", "$batch of 100", "POST", "$batch", "Content-Type: multipart/mixed; boundary=batch_1\r\n", batchRequest(), 200, 8, nil},
}

// contest is one peer's part in a comparison.
type contest struct {
	*peer
	asks [][]byte
	crowd
	costs []time.Duration // a call, by rounds
	held  float64         // bytes, once its tenants had their tokens
}

// compare measures what w costs each peer.
func (f *field) compare(w work, t *table) error {
	if err := f.equal(w); err != nil {
		return err
	}
	var all []*contest
	for _, p := range f.peers {
		all = append(all, &contest{peer: p, asks: [][]byte{ask(p, w.method, w.path, w.header, w.body)}})
	}
	if err := f.contest(all, w.calls, w.callers); err != nil {
		return err
	}
	costs := make(map[string][]time.Duration)
	for _, c := range all {
		costs[c.name] = c.costs
		if c.name != "nginx" && (c.name != us || w.goals == nil) {
			t.ratio(w.label, c.name+" / nginx", ratios(c.costs, costs["nginx"]), 0)
		}
	}
	for _, g := range w.goals {
		if costs[g.of] != nil {
			t.ratio(w.label, us+" / "+g.of, ratios(costs[us], costs[g.of]), g.most)
		}
	}
	return nil
}

// contest lets all take turns, in another order in every round, and fills in
// their costs.
func (f *field) contest(all []*contest, calls, callers int) error {
	if f.short {
		calls = callers
	}
	for _, c := range all {
		var err error
		if c.crowd, err = gather(c.address, callers); err != nil {
			return err
		}
		defer c.leave()
	}
	for round := -1; round < f.rounds; round++ { // the first warms up
		for i := range all {
			c := all[(i+round+1)%len(all)]
			cost, err := c.turn(calls)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round >= 0 {
				c.costs = append(c.costs, cost)
			}
		}
	}
	return nil
}

func (c *contest) turn(calls int) (time.Duration, error) {
	before, err := c.spent()
	if err != nil {
		return 0, err
	}
	if err := c.calls(c.asks, calls); err != nil {
		return 0, err
	}
	after, err := c.spent()
	return (after - before) / time.Duration(calls), err
}

// answer is what a peer answered, without what may differ.
type answer struct {
	peer string
	text []byte
}

// equal compares what all answer, byte for byte, once each peer's own address
// is set aside. Of those that cannot rewrite bodies the organization's is.
func (f *field) equal(w work) error {
	var all []answer
	for _, p := range f.peers {
		text, err := p.answer(w)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		text = bytes.ReplaceAll(text, []byte(p.base()), []byte("BASE"))
		if !p.rewrites {
			text = bytes.ReplaceAll(text, []byte("https://"+f.organization), []byte("BASE"))
		}
		all = append(all, answer{p.name, text})
	}
	return alike(all)
}

func (p *peer) answer(w work) ([]byte, error) {
	c, err := dial(p.address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var body bytes.Buffer
	resp, err := c.call(ask(p, w.method, w.path, w.header, w.body), &body)
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%d\n", resp.StatusCode)
	for _, name := range []string{"Location", "Content-Type", "OData-Version", "Body-Sum"} {
		text = fmt.Appendf(text, "%s: %s\n", name, resp.Header.Get(name))
	}
	return append(text, body.Bytes()...), nil
}

// alike tells the first byte at which somebody differs.
func alike(all []answer) error {
	first := all[0]
	for _, other := range all[1:] {
		if bytes.Equal(first.text, other.text) {
			continue
		}
		at := 0
		for at < min(len(first.text), len(other.text)) && first.text[at] == other.text[at] {
			at++
		}
		return fmt.Errorf("%s answers otherwise than %s, from byte %d: %.200q, not %.200q", other.peer, first.peer, at, other.text[max(0, at-20):], first.text[max(0, at-20):])
	}
	return nil
}
