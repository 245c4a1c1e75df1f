package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dynproxy/bench/stand"
	"dynproxy/internal/emulator"
)

const (
	app     = "7f0c2d9e-18a4-4d52-9b0e-2f6b8f9d3c11"
	writers = 8
)

// world is a proxy before an emulated organization.
type world struct {
	*stand.Stand
	emulated *emulator.Emulator
	proxy    stand.Proxy
}

func open() (*world, error) {
	s, err := stand.New()
	if err != nil {
		return nil, err
	}
	w := &world{Stand: s}
	if err := w.open(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) open() error {
	var err error
	w.emulated, err = emulator.New(emulator.Seed{
		TokenLife: 40 * time.Second,
		Apps:      []emulator.App{{ClientID: app, Secrets: []string{"bench"}}},
		Organizations: []emulator.OrganizationSeed{
			{Name: "contoso", Consented: []string{app}, ApplicationUsers: []string{app}},
			{Name: "fabrikam", Consented: []string{app}, ApplicationUsers: []string{app}},
		},
	})
	if err != nil {
		return err
	}
	if err := w.emulated.Start("127.0.0.1:0"); err != nil {
		return err
	}
	if err := os.WriteFile(w.file("ca.pem"), w.emulated.CA(), 0o600); err != nil {
		return err
	}
	for _, dir := range []string{"tenants", "callers", "spool"} {
		if err := os.Mkdir(w.file(dir), 0o700); err != nil {
			return err
		}
	}
	if err := w.reload(0); err != nil {
		return err
	}
	hosts := strings.ReplaceAll(w.emulated.OrgURL("contoso")+","+w.emulated.OrgURL("fabrikam"), "https://", "")
	w.proxy, err = w.Proxy("CLIENT_ID="+app, "CLIENT_SECRET=bench", "TENANTS_DIR="+w.file("tenants"), "CALLERS_DIR="+w.file("callers"),
		"SPOOL_DIR="+w.file("spool"), "TRUSTED_CA_FILE="+w.file("ca.pem"), "LOG_LEVEL=info",
		"ALLOWED_ORG_HOSTS="+hosts, "ALLOWED_LOGIN_HOSTS="+w.emulated.LoginHost())
	return err
}

func (w *world) file(name string) string { return filepath.Join(w.Dir, name) }

func (w *world) close() {
	w.Close()
	if w.emulated != nil {
		w.emulated.Close()
	}
}

func keyOf(caller int) string {
	return fmt.Sprintf("key-of-writer-%d-0123456789abcdef0123456789abcdef", caller)
}

// reload changes every file of a tenant and a caller, and in every other lap a
// tenant and a caller come that go again in the next.
func (w *world) reload(lap int) error {
	files := map[string]string{
		"tenants/contoso.env": fmt.Sprintf("ORG_URL=%s\nWINDOW=2s\nCONCURRENCY=%d\nQUEUE_WAIT=%ds\n", w.emulated.OrgURL("contoso"), 6+lap%3, 20+lap%2),
	}
	for i := range writers {
		files[fmt.Sprintf("callers/writer-%d.env", i)] = fmt.Sprintf("KEY_SHA256=%x\nWEIGHT=%d\n", sha256.Sum256([]byte(keyOf(i))), 1+(lap+i)%3)
	}
	passing := map[string]string{
		"tenants/fabrikam.env": "ORG_URL=" + w.emulated.OrgURL("fabrikam") + "\n",
		"callers/passing.env":  fmt.Sprintf("KEY_SHA256=%x\n", sha256.Sum256([]byte("key-that-passes-0123456789abcdef0123456789"))),
	}
	for name, text := range passing {
		if lap%2 == 0 {
			files[name] = text
		} else if err := os.Remove(w.file(name)); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := replace(w.file(name), text); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file as a careful editor does.
func replace(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// troubles come one after the other, over and over.
var troubles = []func(*world){
	organization(emulator.Fault{Kind: emulator.ResetBefore, Times: 2}),
	organization(emulator.Fault{Kind: emulator.TearReused, Times: 3}),
	organization(emulator.Fault{Kind: emulator.Throttle, Times: 2, RetryAfter: time.Second}),
	organization(emulator.Fault{Kind: emulator.ResetAfter, Times: 2}),
	organization(emulator.Fault{Kind: emulator.Throttle, Times: 2, Code: "0x80072326", RetryAfter: time.Second}),
	organization(emulator.Fault{Kind: emulator.TearReusedHead, Times: 3}),
	organization(emulator.Fault{Kind: emulator.Slow, Times: 4, Delay: 300 * time.Millisecond}),
	organization(emulator.Fault{Kind: emulator.Status, Times: 2, Status: 503}),
	login(emulator.Fault{Kind: emulator.Status, Times: 1, Status: 503}),
	organization(emulator.Fault{Kind: emulator.ResetMiddle, Times: 2}),
	organization(emulator.Fault{Kind: emulator.Informational, Times: 2}),
	organization(emulator.Fault{Kind: emulator.SlowHandshake, Times: 1, Delay: 500 * time.Millisecond}),
	login(emulator.Fault{Kind: emulator.Slow, Times: 1, Delay: 300 * time.Millisecond}),
	organization(emulator.Fault{Kind: emulator.Down, Times: 3}),
	organization(emulator.Fault{Kind: emulator.Stall, Times: 1, After: 10, Delay: 300 * time.Millisecond}),
}

// rare are troubles after which the proxy asks for another token. It does so at
// most once a minute when an organization goes on refusing, so they come
// minutes apart: in these of fifteen laps.
var rare = map[int]func(*world){
	1: (*world).revoke,
	8: organization(emulator.Fault{Kind: emulator.SignInPage, Times: 1}),
}

func (w *world) revoke() { w.emulated.Organization("contoso").RevokeTokens() }

func organization(f emulator.Fault) func(*world) {
	return func(w *world) { must(w.emulated.Organization("contoso").Inject(f)) }
}

func login(f emulator.Fault) func(*world) {
	return func(w *world) { must(w.emulated.Entra().Inject(f)) }
}

// must is for faults that stand above: they are right or the program is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) heal() {
	w.emulated.Organization("contoso").Heal()
	w.emulated.Entra().Heal()
}
