package eventlog

import (
	"strings"
	"testing"
	"time"

	"dynproxy/internal/notify"
	"dynproxy/internal/service"
	"dynproxy/internal/status"
)

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
	e := &Log{last: make(map[string]status.Change), broken: make(map[string]bool)}
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
	e.Retain(func(string) bool { return false })
	if !e.lasts(is(status.Broken)) {
		t.Error("a tenant that came back is not told of")
	}
	if len(e.last) != 0 {
		t.Errorf("%v is kept", e.last)
	}
}

// What ends is told in four ways, and each reminder once.
func TestAReminderIsAnEventOnce(t *testing.T) {
	now := time.Now()
	e := &Log{}
	for _, c := range []struct {
		ofTLS bool
		in    time.Duration
		want  service.Event
	}{
		{false, 25 * time.Hour, service.CredentialEnds}, {false, 23 * time.Hour, service.CredentialEnds}, {false, -time.Hour, service.CredentialEnded},
		{true, 25 * time.Hour, service.CertificateEnds}, {true, 23 * time.Hour, service.CertificateEnds}, {true, -time.Hour, service.CertificateEnded},
	} {
		end := notify.End{Subject: "the secret", At: now, OfTLS: c.ofTLS}
		if c.ofTLS {
			end.Subject = "the certificate"
		}
		at := now.Add(-c.in)
		if got, news := e.reminder(end, at); !news || got != c.want {
			t.Errorf("%+v: %d, %v", c, got, news)
		}
		if _, news := e.reminder(end, at.Add(time.Minute)); news {
			t.Errorf("%+v is told twice", c)
		}
	}
	if _, news := e.reminder(notify.End{Subject: "far", At: now.Add(31 * 24 * time.Hour)}, now); news {
		t.Error("what ends in a month is told")
	}
}
