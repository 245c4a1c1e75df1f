//go:build linux

package main

import (
	"slices"
	"testing"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/needs"
)

// The network is parted: the link from one proxy to Redis is down, or those of
// all, for longer than a lease. Nothing is refused, and nothing comes.
func TestANetworkIsPartedUnderLoad(t *testing.T) {
	needs.Long(t)
	for _, c := range []struct {
		name   string
		parted []int // the proxies
	}{
		{"one proxy", []int{2}},
		{"all proxies", []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ways := redistest.Apart(t, 3)
			d := newDrill(t, scales["small"], ways[0].URL(), ways[1].URL(), ways[2].URL())
			d.begin()
			for _, i := range c.parted {
				ways[i].Cut()
			}
			d.until("being alone", func() bool {
				return !slices.ContainsFunc(c.parted, func(i int) bool { return !isAlone(d, i) })
			})
			time.Sleep(8 * time.Second)
			for _, i := range c.parted {
				ways[i].Heal()
			}
			d.oneAgain(d.share())
		})
	}
}
