package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
	"dynproxy/internal/status"
)

// hook is a webhook's receiver over TLS, as operators have one.
type hook struct {
	*httptest.Server
	got chan said
}

type said struct {
	Text   string
	Events []struct{ Event, Tenant, Code, Finding, Next, Subject string }
	at     time.Time
}

const hookToken = "w3bhook-canary"

// addHook has the proxy of these settings tell a receiver.
func addHook(t *testing.T, p *localEmulator, settings map[string]string) *hook {
	t.Helper()
	h := &hook{got: make(chan said, 100)}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m := said{at: time.Now()}
		if err := json.Unmarshal(body, &m); err != nil || r.URL.Query().Get("sig") != hookToken {
			t.Errorf("%s %s: %v", r.URL, body, err)
		}
		h.got <- m
	}))
	t.Cleanup(h.Close)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	write(t, roots, append(p.CA(), own...))
	settings[prefix+"TRUSTED_CA_FILE"] = roots
	settings[prefix+"NOTIFY_URL"] = h.URL + "/" + hookToken + "?sig=" + hookToken
	return h
}

// next is the next thing that is told.
func (h *hook) next(t *testing.T, r *running) said {
	t.Helper()
	select {
	case m := <-h.got:
		return m
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing is told\n%s", r.log)
		return said{}
	}
}

// until waits for what comes soon, and returns when it came.
func (r *running) until(what string, ok func() bool) time.Time {
	r.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			r.t.Fatalf("%s did not come\n%s", what, r.log)
		}
	}
	return time.Now()
}

// An incident from its beginning to its end: the organization goes down, and
// within a second its tenant's state turns, within five the webhook is told,
// the API and the portal show it; it recovers, and that is told too; a restart
// forgets nothing and tells nothing twice.
func TestAnIncident(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "northwind")
	settings[prefix+"STATE_DIR"] = filepath.Join(t.TempDir(), "state")
	h := addHook(t, p, settings)
	r := start(t, settings)
	state := func() status.State { facts, _ := r.facts(t, "contoso"); return facts.State }
	call := func() int { resp, _ := r.get(whoAmIPath); return resp.StatusCode }
	if call() != 200 {
		t.Fatal("it does not begin well")
	}
	r.until("ready", func() bool { return state() == status.Ready })
	// A caller's own mistakes are not the tenant's.
	for range 5 {
		r.get("/contoso/api/data/v9.2/nosuchtable")
		r.get("/contoso/main.aspx")
	}
	if got := state(); got != status.Ready {
		t.Errorf("after a caller's mistakes it is %s", got)
	}

	if err := p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Down}); err != nil {
		t.Fatal(err)
	}
	if got := call(); got != 502 {
		t.Errorf("the call got %d", got)
	}
	failed := time.Now()
	turned := r.until("broken", func() bool { return state() == status.Broken })
	m := h.next(t, r)
	if len(m.Events) != 1 || m.Events[0].Event != "tenant_broken" || m.Events[0].Tenant != "contoso" || m.Events[0].Code != "upstream_unreachable" || m.Events[0].Next == "" {
		t.Errorf("told: %+v", m)
	}
	t.Logf("turned after %v, told after %v", turned.Sub(failed), m.at.Sub(failed))
	facts, _ := r.facts(t, "contoso")
	if len(facts.History) != 2 || facts.History[1].State != "broken" || facts.Since.IsZero() || facts.Report == nil || facts.Report.OK {
		t.Errorf("the API shows %+v", facts)
	}
	if _, page := fetch(t, r.ops+"/tenants/contoso"); !strings.Contains(page, "upstream_unreachable") || !strings.Contains(page, `class="state broken"`) {
		t.Errorf("the portal shows %s", page)
	}
	if _, page := fetch(t, r.ops+"/"); !strings.Contains(page, `class="state broken"`) {
		t.Error("the list does not show it")
	}

	// While it is down the proxy is replaced: the incident is known to the next.
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = start(t, settings)
	if facts, _ := r.facts(t, "contoso"); len(facts.History) != 2 {
		t.Errorf("after a restart: %+v", facts.History)
	}
	call()
	r.until("broken again", func() bool { return state() == status.Broken })

	p.Organization("contoso").Heal()
	r.until("a good call", func() bool { return call() == 200 })
	healed := time.Now()
	r.until("ready again", func() bool { return state() == status.Ready })
	m = h.next(t, r)
	if len(m.Events) != 1 || m.Events[0].Event != "tenant_recovered" || m.Events[0].Tenant != "contoso" {
		t.Errorf("told: %+v", m)
	}
	t.Logf("told after %v", m.at.Sub(healed))
	if facts, _ := r.facts(t, "contoso"); len(facts.History) != 3 || facts.History[2].State != "ready" {
		t.Errorf("the API shows %+v", facts.History)
	}
	// What nobody called is not the webhook's business until it is known.
	if text := r.log.String(); strings.Contains(text, hookToken) {
		t.Error("the webhook's address is in the log")
	}
	if _, text := fetch(t, r.ops+"/readyz"); !strings.Contains(text, `"state_dir":{"state":"kept"}`) {
		t.Errorf("/readyz says %s", text)
	}
}

// Five hundred tenants whose app's secret has expired are one message; and the
// next secret makes them well.
func TestAnExpiredSecretIsOneMessage(t *testing.T) {
	needs.Long(t)
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	const many = 500
	var list []string
	for i := range many {
		list = append(list, fmt.Sprintf("t%03d=%s", i, p.OrgURL("contoso")))
	}
	settings[prefix+"TENANTS"] = strings.Join(list, ",")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("a-secret-that-has-ended"))
	delete(settings, prefix+"CLIENT_SECRET")
	settings[prefix+"CLIENT_SECRET_FILE"] = secret
	if !p.Entra().SetSecret(demoClientID, "a-secret-that-has-ended", true) {
		t.Fatal("there is no such app")
	}
	h := addHook(t, p, settings)
	r := start(t, settings)
	for i := range many {
		if resp, _ := r.get(fmt.Sprintf("/t%03d/api/data/v9.2/WhoAmI", i)); resp.Header.Get("Dynproxy-Error") != "credential_rejected" {
			t.Fatalf("%d: %s", i, resp.Header.Get("Dynproxy-Error"))
		}
	}
	first := h.next(t, r)
	if !strings.Contains(first.Text, "credential_rejected") || first.Events[0].Event != "tenant_broken" {
		t.Errorf("%+v", first)
	}
	time.Sleep(6 * time.Second) // in which 500 messages would come
	if more := len(h.got); more > 4 {
		t.Errorf("%d more messages", more)
	}
}

// STATE_DIR that cannot be used is told, in the log and to whoever asks, and
// costs no call.
func TestAStateDirThatCannotBeUsedIsTold(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	place := filepath.Join(t.TempDir(), "state")
	write(t, place, []byte("a file where a directory should be"))
	settings[prefix+"STATE_DIR"] = place
	r := start(t, settings)
	r.until("a warning", func() bool { return strings.Contains(r.log.String(), `{"level":"warn","setting":"DYNPROXY_STATE_DIR"`) })
	if resp, _ := r.get(whoAmIPath); resp.StatusCode != 200 {
		t.Errorf("a call gets %d", resp.StatusCode)
	}
	resp, text := fetch(t, r.ops+"/readyz")
	if resp.StatusCode != 200 || !strings.Contains(text, `"state_dir":{"state":"fault","fault":"`) || strings.Contains(text, place) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	os.Remove(place)
	r.await("all is well", func(line string) bool { return strings.Contains(line, "is written again") })
	if _, text := fetch(t, r.ops+"/readyz"); !strings.Contains(text, `"state_dir":{"state":"kept"}`) {
		t.Errorf("%s", text)
	}
}

// An address of a webhook that will not do is told without a word of it.
func TestAWebhooksAddressIsASecret(t *testing.T) {
	p := startEmulator(t, demoSeed())
	for address, fine := range map[string]bool{
		"https://hooks.example.com/" + hookToken: true, "http://127.0.0.1:8000/" + hookToken: true, "http://localhost/" + hookToken: true, "http://10.1.2.3/" + hookToken: true, "http://[::1]:8/" + hookToken: true,
		"http://hooks.example.com/" + hookToken: false, "http://8.8.8.8/" + hookToken: false, "ftp://localhost/" + hookToken: false, hookToken: false, "https:///" + hookToken: false, "https://%zz" + hookToken: false,
	} {
		settings := p.settings("contoso")
		settings[prefix+"NOTIFY_URL"] = address
		_, err := loadConfig(settings)
		if (err == nil) != fine || err != nil && (!strings.Contains(err.Error(), "DYNPROXY_NOTIFY_URL") || strings.Contains(err.Error(), hookToken)) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Who comes to consent, and what ends soon, is told; a restart tells no end
// again.
func TestNoticesOfConsentAndOfEnds(t *testing.T) {
	needs.Long(t)
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"STATE_DIR"] = filepath.Join(t.TempDir(), "state")
	settings[prefix+"SECRET_EXPIRES"] = time.Now().AddDate(0, 0, 6).Format(time.DateOnly)
	settings[prefix+"OPS_LISTEN"] = unused(t)
	h := addHook(t, p, settings)
	r := start(t, settings)
	m := h.next(t, r)
	if len(m.Events) != 1 || m.Events[0].Event != "ends" || m.Events[0].Subject != "the secret of app registration "+demoClientID || !strings.Contains(m.Text, " days (") {
		t.Errorf("%+v", m)
	}

	// An administrator accepts, and comes back.
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	back := func(page, tenant string) {
		t.Helper()
		resp, err := client.Get(r.ops + page)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		resp, err = client.Get(r.ops + "/consent/callback?" + url.Values{"admin_consent": {"True"}, "tenant": {tenant}, "state": {to.Query().Get("state")}}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	fabrikam := p.Organization("fabrikam").TenantID()
	back("/consent/fabrikam", fabrikam) // who says so, and has not
	if len(h.got) > 0 {
		t.Errorf("told without a proof: %+v", h.next(t, r))
	}
	if !p.Entra().Consent(fabrikam, demoClientID) {
		t.Fatal("there is no such tenant")
	}
	for began := time.Now(); len(h.got) == 0; time.Sleep(200 * time.Millisecond) { // proofs are two seconds apart
		if time.Since(began) > 30*time.Second {
			t.Fatal("nothing is told")
		}
		back("/consent/fabrikam", fabrikam)
	}
	told := func(event string) said {
		t.Helper()
		for {
			m := h.next(t, r)
			for _, e := range m.Events {
				if e.Event == event {
					return m
				}
			}
		}
	}
	if m := told("consent_given"); !strings.Contains(m.Text, "The administrator of fabrikam has granted access") || strings.Contains(m.Text, "state=") {
		t.Errorf("%+v", m)
	}
	back("/consent", "99999999-9999-4999-8999-999999999999")
	if m := told("newcomer"); !strings.Contains(m.Text, "99999999-9999-4999-8999-999999999999") {
		t.Errorf("%+v", m)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = start(t, settings)
	for deadline := time.After(remindAfter + 4*time.Second); ; {
		select {
		case m := <-h.got:
			if strings.Contains(m.Text, "app registration") {
				t.Errorf("told again: %s", m.Text)
			}
			continue
		case <-deadline:
		}
		break
	}
}

// A tenant that was removed is forgotten: one that comes by its name has no past.
func TestARemovedTenantHasNoPast(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings, dir := p.settings("contoso"), t.TempDir()
	settings[prefix+"TENANTS"], settings[prefix+"TENANTS_DIR"], settings[prefix+"STATE_DIR"] = "", filepath.Join(dir, "tenants"), filepath.Join(dir, "state")
	if err := os.Mkdir(filepath.Join(dir, "tenants"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tenants", "contoso.env")
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	write(t, filepath.Join(dir, "tenants", "other.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	r := start(t, settings)
	past := func() int { facts, _ := r.facts(t, "contoso"); return len(facts.History) }
	r.get(whoAmIPath)
	r.until("a past", func() bool { return past() == 1 })
	os.Remove(file)
	r.until("its end", func() bool { _, status := r.facts(t, "contoso"); return status == http.StatusNotFound })
	kept := filepath.Join(dir, "state", "process-0", "states.jsonl")
	r.until("the disk to forget it", func() bool {
		text, err := os.ReadFile(kept)
		return err == nil && !strings.Contains(string(text), "contoso")
	})
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	r = start(t, settings)
	if facts, _ := r.facts(t, "contoso"); len(facts.History) != 0 {
		t.Errorf("%+v", facts.History)
	}
}

// Calls that fail while every check passes are told of too; and a check that
// passes does not make the state go to and fro.
func TestCallsThatFailWhileChecksPassAreTold(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	h := addHook(t, p, settings)
	r := start(t, settings)
	r.get(whoAmIPath)
	const accounts = "/api/data/v9.2/accounts"
	if err := p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Status, Status: 503, Method: http.MethodPost, Path: accounts}); err != nil {
		t.Fatal(err)
	}
	create := func() {
		t.Helper()
		resp, err := http.Post(r.calls+"/contoso"+accounts, "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for range 3 {
		create()
	}
	r.until("a check that passes", func() bool {
		facts, _ := r.facts(t, "contoso")
		return facts.Report != nil && facts.Report.OK && facts.Trouble != nil
	})
	for range 4 {
		create()
	}
	// It broke, was put right by the check, and broke again: where that was
	// quick, both are told as one.
	m := h.next(t, r)
	flapped := m.Events[0].Event == "tenant_flapping"
	if !flapped && m.Events[0].Event != "tenant_broken" || m.Events[0].Code != "status 503" || !strings.Contains(m.Text, "calls fail with status 503") {
		t.Errorf("%+v", m)
	}
	for range 20 {
		create()
	}
	if facts, _ := r.facts(t, "contoso"); facts.State != status.Broken || len(facts.History) > 4 || facts.Trouble.Count < 27 {
		t.Errorf("%s, %+v, %+v", facts.State, facts.History, facts.Trouble)
	}
	r.get(whoAmIPath)
	if flapped {
		return // the end of which is told when it has been calm for a while
	}
	if m := h.next(t, r); m.Events[0].Event != "tenant_recovered" {
		t.Errorf("%+v", m)
	}
}
