package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/service"
	"dynproxy/internal/status"
)

func TestTheEndOfAServiceIsTheEventThatItIs(t *testing.T) {
	some := errors.New("some")
	for _, c := range []struct {
		err    error
		code   int
		served bool
		want   service.Event
	}{
		{nil, 0, true, service.Stopped}, {nil, 0, false, service.Stopped},
		{some, 2, false, service.SettingsRefused}, {some, 1, false, service.StartFailed}, {some, 1, true, service.EndedByError},
	} {
		if got := lastEvent(c.err, c.code, c.served); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestWhatIsWrongWithATenantIsInItsEvent(t *testing.T) {
	for code, want := range map[string]service.Event{
		"credential_rejected": service.TokenFailure, "token_unavailable": service.TokenFailure, "token_refused": service.TokenFailure,
		"consent_required": service.TenantBroken, "upstream_unreachable": service.TenantBroken, "": service.TenantBroken,
	} {
		event, details := ofTenant(status.Change{Tenant: "contoso", To: status.Broken, Code: code, Finding: "it is so", Next: "do that"})
		if event != want {
			t.Errorf("%q: %d", code, event)
		}
		for _, part := range []string{"contoso", code, "it is so", "do that"} {
			if !strings.Contains(details, part) {
				t.Errorf("%q lacks %q", details, part)
			}
		}
	}
	if event, _ := ofTenant(status.Change{Tenant: "contoso", From: status.Broken, To: status.Ready}); event != service.TenantRecovered {
		t.Errorf("recovered: %d", event)
	}
}

// Only what lasts is an event, and only what is news; a tenant that has gone
// and come back is a new one.
func TestATenantsStateIsAnEventOnceAndIfItLasts(t *testing.T) {
	e := &events{last: make(map[string]status.Change), broken: make(map[string]bool)}
	at := time.Now()
	is := func(to status.State) status.Change {
		at = at.Add(time.Second)
		c := status.Change{Tenant: "contoso", To: to, At: at}
		e.last["contoso"] = c
		return c
	}
	short := is(status.Broken)
	over := is(status.Ready)
	if e.lasts(short) || e.lasts(over) {
		t.Error("what did not last is an event, or what was never told is over")
	}
	if !e.lasts(is(status.Broken)) || e.lasts(is(status.Broken)) {
		t.Error("a break is an event once")
	}
	if !e.lasts(is(status.Attention)) || e.lasts(is(status.Ready)) {
		t.Error("a recovery is an event once")
	}
	e.lasts(is(status.Broken))
	e.retain(map[string]bool{})
	if !e.lasts(is(status.Broken)) {
		t.Error("a tenant that came back is not told of")
	}
	if len(e.last) != 0 {
		t.Errorf("%v is kept", e.last)
	}
}
