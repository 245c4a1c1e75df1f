package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told plays a tenant's life in which it is looked at every 100 ms, and returns
// what is told of it.
func told(life func(turn func(broken bool), pass func(time.Duration))) (all []string) {
	t := new(tenant)
	now := time.Now
	n := &Notifier{woken: make(chan struct{}, 1), tenants: map[string]*tenant{"contoso": t}}
	began := now()
	look := func() {
		if news, due := t.notice("contoso", now()); due {
			t.isTold(news, now())
			all = append(all, fmt.Sprintf("%v %s %d", now().Sub(began).Round(time.Second), news.Kind, news.Count))
		}
	}
	life(func(broken bool) { n.TenantIs(broken, Notice{Tenant: "contoso", At: now()}) }, func(d time.Duration) {
		for until := now().Add(d); now().Before(until); time.Sleep(100 * time.Millisecond) {
			look()
		}
	})
	return all
}

// Flapping is damped in what is told: one message within a window, with a count.
func TestFlappingIsToldOnce(t *testing.T) {
	for name, x := range map[string]struct {
		life func(turn func(bool), pass func(time.Duration))
		want string
	}{
		"an outage": {func(turn func(bool), pass func(time.Duration)) {
			turn(true)
			pass(2 * time.Minute)
			turn(false)
			pass(time.Hour)
			turn(true)
			pass(time.Hour)
		}, "2s tenant_broken 0, 2m2s tenant_recovered 0, 1h2m2s tenant_broken 0"},
		"a blink": {func(turn func(bool), pass func(time.Duration)) {
			turn(true)
			pass(time.Second)
			turn(false)
			pass(time.Hour)
		}, ""},
		"two blinks, and then an outage": {func(turn func(bool), pass func(time.Duration)) {
			for range 2 {
				turn(true)
				pass(time.Second)
				turn(false)
				pass(20 * time.Minute)
			}
			turn(true)
			pass(time.Minute)
		}, "40m4s tenant_broken 0"},
		"a second outage soon after": {func(turn func(bool), pass func(time.Duration)) {
			turn(true)
			pass(time.Minute)
			turn(false)
			pass(time.Minute)
			turn(true)
			pass(time.Hour)
		}, "2s tenant_broken 0, 1m2s tenant_recovered 0, 10m2s tenant_broken 0"},
		"flapping for half an hour": {func(turn func(bool), pass func(time.Duration)) {
			for range 30 {
				turn(true)
				pass(30 * time.Second)
				turn(false)
				pass(30 * time.Second)
			}
			pass(time.Hour)
		}, "2s tenant_broken 0, 32s tenant_recovered 0, 10m2s tenant_flapping 10, 20m2s tenant_flapping 10, 30m2s tenant_flapping 9"},
		"flapping, and an outage long after": {func(turn func(bool), pass func(time.Duration)) {
			for range 10 {
				turn(true)
				pass(30 * time.Second)
				turn(false)
				pass(30 * time.Second)
			}
			pass(time.Hour)
			turn(true)
			pass(time.Minute)
		}, "2s tenant_broken 0, 32s tenant_recovered 0, 11m0s tenant_flapping 9, 1h10m2s tenant_broken 0"},
		"blinking all the time": {func(turn func(bool), pass func(time.Duration)) {
			for range 300 {
				turn(true)
				pass(time.Second)
				turn(false)
				pass(time.Second)
			}
			pass(time.Minute)
		}, "10m1s tenant_flapping 300"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := strings.Join(told(x.life), ", "); got != x.want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, x.want)
			}
		})
	}
}

// Each kind of receiver gets what it can read.
func TestShapes(t *testing.T) {
	n := &Notifier{Host: "proxy-1", Portal: func() string { return "https://ops.example.com/" }}
	m := n.message([]Notice{
		{Kind: Broken, Tenant: "contoso", Finding: "tls: <b>it was issued by</b> [Evil](https://evil.example) & *Co*"},
		{Kind: NewcomerHas, TenantID: "99999999-9999-4999-8999-999999999999", From: "192.0.2.1"},
	}, 0)
	var slack struct{ Text string }
	if err := json.Unmarshal(m.shaped("hooks.slack.com"), &slack); err != nil || !strings.HasPrefix(slack.Text, "*dynproxy on proxy-1*\ncontoso is broken: tls: &lt;b&gt;it was issued") || !strings.HasSuffix(slack.Text, "\nhttps://ops.example.com/") {
		t.Errorf("%v %q", err, slack.Text)
	}
	for _, host := range []string{"contoso.webhook.office.com", "prod-07.westeurope.logic.azure.com", "default1.2.environment.api.powerplatform.com"} {
		var teams struct {
			Type        string
			Attachments []struct {
				ContentType string
				Content     struct {
					Type, Version string
					Body          []struct{ Type, Text string }
					Actions       []struct{ Type, URL string }
				}
			}
		}
		if err := json.Unmarshal(m.shaped(host), &teams); err != nil || teams.Type != "message" || len(teams.Attachments) != 1 {
			t.Fatalf("%s: %v %+v", host, err, teams)
		}
		card := teams.Attachments[0]
		if card.ContentType != "application/vnd.microsoft.card.adaptive" || card.Content.Type != "AdaptiveCard" || len(card.Content.Body) != 3 ||
			!strings.Contains(card.Content.Body[1].Text, `\[Evil\](https`) || card.Content.Actions[0].URL != "https://ops.example.com/" {
			t.Errorf("%s: %+v", host, card)
		}
	}
	for _, host := range []string{"hooks.example.com", "evillogic.azure.com.example", "notwebhook.office.com.example"} {
		var own message
		if err := json.Unmarshal(m.shaped(host), &own); err != nil || own.Source != "dynproxy" || len(own.Events) != 2 {
			t.Errorf("%s: %v", host, err)
		}
	}
}
