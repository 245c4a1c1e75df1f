package entra

import (
	"testing"
	"time"
)

// A suspended machine has a monotonic clock that is late, one that was set has
// a wall clock that is: a token is over when either says so.
func TestTokenEndsByEitherClock(t *testing.T) {
	now := time.Now()
	h := hold(Token{Expires: now.Add(time.Hour)}, "", now)
	if !h.good(now) || h.good(now.Add(time.Hour-4*time.Second)) {
		t.Error("not good until shortly before its end")
	}
	suspended := *h
	suspended.endWall = now.Add(-time.Second).UnixNano()
	setBack := *h
	setBack.end = now.Add(-time.Second)
	if suspended.good(now) || setBack.good(now) {
		t.Error("one clock was trusted")
	}
}
