package egress

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// When a host closes what is idle is learnt from what it does, and forgotten
// unless it goes on doing it.
func TestWhenAHostClosesIsLearntAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l idleLimits
		near := func(when string, idle time.Duration, want bool) {
			t.Helper()
			if l.near("a", idle) != want {
				t.Errorf("%s, idle for %v: about to close %v", when, idle, !want)
			}
		}
		near("unknown", time.Hour, false)
		l.closedAfter("a", 10*time.Second)
		near("known", 7*time.Second, false)
		near("known", 8*time.Second, true)
		time.Sleep(idleMemory - time.Second)
		l.closedAfter("a", 11*time.Second) // a look that came a little late
		l.closedAfter("a", time.Minute)    // a restart
		time.Sleep(2 * time.Second)
		near("seen again", 8*time.Second, true)
		l.survived("a", 9*time.Second)
		near("it was close", 8*time.Second, true)
		l.survived("a", 10*time.Second)
		near("it keeps them longer", 8*time.Second, false)
		l.closedAfter("a", 10*time.Second)
		time.Sleep(idleMemory + time.Second)
		near("long ago", 8*time.Second, false)
		for i := range idleHosts + 10 {
			l.closedAfter(fmt.Sprint(i), time.Second)
		}
		if n := len(l.hosts); n != idleHosts {
			t.Errorf("%d hosts are remembered", n)
		}
		time.Sleep(idleMemory + time.Second)
		if l.closedAfter("another", 10*time.Second); !l.near("another", 10*time.Second) {
			t.Error("those that are forgotten leave no room")
		}
	})
}
