package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	perSecond = 800 // calls a second
	pacers    = 16  // connections on which they come
	pacing    = 2 * time.Second
	mostP50   = 2.4 // of nginx's
)

// latency measures how much longer a call of 1 KB takes than at the
// organization itself, at a rate that keeps nobody busy.
func (f *field) latency(t *table) error {
	direct, err := f.directly(pacers)
	if err != nil {
		return err
	}
	defer direct.leave()
	straight := &peer{address: f.organization}
	asks := [][]byte{directAsk(straight, "small")}
	crowds := []crowd{direct}
	for _, p := range f.peers {
		c, err := gather(p.address, pacers)
		if err != nil {
			return err
		}
		defer c.leave()
		crowds, asks = append(crowds, c), append(asks, ask(p, "GET", "small", "", nil))
	}
	added := make([][]time.Duration, len(crowds))
	for round := -1; round < f.rounds; round++ {
		var base time.Duration
		for i, c := range crowds {
			within := pacing
			if f.short || round < 0 {
				within = pacing / 10
			}
			p50, err := c.paced(asks[i], within)
			if err != nil {
				return err
			}
			if i == 0 {
				base = p50
			}
			if round >= 0 {
				added[i] = append(added[i], p50-base)
			}
		}
	}
	for i, p := range f.peers {
		goal := 0.0
		if p.name == us {
			goal = mostP50
		}
		if i > 0 {
			t.ratio(fmt.Sprintf("added p50 at %d a second", perSecond), p.name+" / nginx", ratios(added[i+1], added[1]), goal)
		}
	}
	return nil
}

// paced makes calls at the rate and returns the median of how long they took.
func (all crowd) paced(ask []byte, within time.Duration) (time.Duration, error) {
	every := time.Second * time.Duration(len(all)) / perSecond
	began := time.Now()
	var mu sync.Mutex // guards took
	var took []time.Duration
	err := all.each(func(i int, c *client) error {
		next := began.Add(every * time.Duration(i) / time.Duration(len(all)))
		for ; next.Sub(began) < within; next = next.Add(every) {
			time.Sleep(time.Until(next))
			sent := time.Now()
			if _, err := c.call(ask, io.Discard); err != nil {
				return err
			}
			one := time.Since(sent)
			mu.Lock()
			took = append(took, one)
			mu.Unlock()
		}
		return nil
	})
	if err != nil || len(took) == 0 {
		return 0, err
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// directly goes to the organization itself, as a peer does.
func (f *field) directly(n int) (crowd, error) {
	ca, err := os.ReadFile(f.ca())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	all, err := gather(f.organization, n)
	for _, c := range all {
		c.Conn = tls.Client(c.Conn, &tls.Config{RootCAs: roots, ServerName: organizationName})
		c.in.Reset(c.Conn)
	}
	return all, err
}

// directAsk is what the organization itself is asked.
func directAsk(p *peer, name string) []byte {
	return ask(p, "GET", name, "Authorization: Bearer "+token+"\r\n", nil)
}
