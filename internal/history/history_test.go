package history

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dynproxy/internal/statedir"
)

func open(t *testing.T, root string) (*History, func()) {
	t.Helper()
	d := statedir.Open(root)
	h := Open(d)
	end := func() { h.Close(); d.Close() }
	t.Cleanup(end)
	return h, end
}

func TestStatesSurviveARestart(t *testing.T) {
	root := t.TempDir()
	h, end := open(t, root)
	now := time.Now()
	h.Note("contoso", "ready", "", now.Add(-3*time.Hour))
	h.Note("contoso", "ready", "", now.Add(-2*time.Hour)) // no news
	h.Note("contoso", "broken", "upstream_unreachable", now.Add(-time.Hour))
	h.Note("fabrikam", "broken", "consent_required", now)
	end()
	h, end = open(t, root)
	events := h.Of("contoso")
	last, _ := h.Last("contoso")
	if len(events) != 2 || last.State != "broken" || last.Why != "upstream_unreachable" || !last.At.Equal(now.Add(-time.Hour)) {
		t.Errorf("%+v", events)
	}
	// What is gone is forgotten, by this process and by those before it.
	second, endSecond := open(t, root)
	second.Note("fabrikam", "ready", "", now.Add(time.Second))
	endSecond()
	h.Retain(func(tenant string) bool { return tenant != "fabrikam" })
	if h.Of("fabrikam") != nil {
		t.Error("still in memory")
	}
	h.Keep()
	end()
	h, _ = open(t, root)
	if h.Of("fabrikam") != nil || len(h.Of("contoso")) != 2 {
		t.Errorf("after a restart: %+v, %+v", h.Of("fabrikam"), h.Of("contoso"))
	}
}

// What two processes saw at the same time is one history.
func TestTwoProcessesAreOneHistory(t *testing.T) {
	root := t.TempDir()
	now := time.Now().Add(-time.Hour)
	a, endA := open(t, root)
	b, endB := open(t, root)
	a.Note("contoso", "ready", "", now)
	b.Note("contoso", "ready", "", now.Add(time.Second))
	a.Note("contoso", "broken", "upstream_timeout", now.Add(time.Minute))
	b.Note("contoso", "broken", "upstream_timeout", now.Add(time.Minute+time.Second))
	b.Note("contoso", "ready", "", now.Add(2*time.Minute))
	endA()
	endB()
	h, _ := open(t, root)
	var states []string
	for _, e := range h.Of("contoso") {
		states = append(states, e.State)
	}
	if fmt.Sprint(states) != "[ready broken ready]" {
		t.Errorf("%v", states)
	}
}

func TestTheLastTurnsOfAll(t *testing.T) {
	h, _ := open(t, "")
	now := time.Now()
	for i, state := range []string{"ready", "broken", "ready"} {
		h.Note("contoso", state, "", now.Add(time.Duration(i)*time.Minute))
		h.Note("fabrikam", state, "why", now.Add(time.Duration(i)*time.Minute+time.Second))
	}
	h.Note("quiet", "ready", "", now)
	all := h.Recent(3)
	if len(all) != 3 || all[0].Tenant != "fabrikam" || all[0].Before != "broken" || all[0].State != "ready" || all[1].Tenant != "contoso" || all[2].State != "broken" {
		t.Errorf("%+v", all)
	}
	if n := len(h.Recent(100)); n != 4 {
		t.Errorf("%d turns", n)
	}
}

func TestAHistoryIsBounded(t *testing.T) {
	h, _ := open(t, "")
	begin := time.Now().Add(-2 * kept)
	h.Note("contoso", "ready", "", begin)
	h.Note("contoso", "broken", "", begin.Add(time.Hour))
	h.Note("contoso", "ready", "", begin.Add(2*time.Hour))
	h.Note("contoso", "broken", "", time.Now().Add(-time.Hour))
	if events := h.Of("contoso"); len(events) != 2 || events[0].State != "ready" {
		t.Errorf("%+v", events)
	}
	for i := range 10 * mostOfOne {
		h.Note("contoso", []string{"ready", "broken"}[i%2], "", time.Now())
	}
	if n := len(h.Of("contoso")); n != mostOfOne {
		t.Errorf("%d are kept", n)
	}
}

func TestWhatMakesNoSenseIsLeftOut(t *testing.T) {
	h, _ := open(t, "")
	for _, text := range []string{"", "x", "{}", `{"tenant":"contoso"}`, `{"tenant":"contoso","at":"soon"}`, "\x00\x00", `{"tenant":7}`} {
		h.Load([]byte(text))
	}
	if h.Of("contoso") != nil || h.Gaps() != nil {
		t.Error("something was taken")
	}
}

// A restart is no time in which nobody looked; what is longer is.
func TestARestartIsNoGap(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct {
		away time.Duration
		gaps int
	}{{0, 0}, {shortGap - 10*time.Second, 0}, {shortGap + 10*time.Second, 1}} {
		_, end := open(t, root)
		end()
		was := time.Now().Add(-c.away)
		if err := os.Chtimes(filepath.Join(root, "process-0", "lock"), was, was); err != nil {
			t.Fatal(err)
		}
		h, end := open(t, root)
		if gaps := h.Gaps(); len(gaps) != c.gaps {
			t.Errorf("away for %v: %v", c.away, gaps)
		}
		end()
	}
}
