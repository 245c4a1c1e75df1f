package tokens

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
	"dynproxy/tenants"
)

const (
	appID      = "11111111-1111-4111-8111-111111111111"
	otherAppID = "22222222-2222-4222-8222-222222222222"
	appSecret  = "the-secret-of-the-app"
)

// asked counts the questions that organizations got.
type asked struct {
	http.RoundTripper
	n atomic.Int64
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.n.Add(1)
	return a.RoundTripper.RoundTrip(r)
}

type bench struct {
	*Source
	*emulator.Emulator
	questions *asked
}

// newBench has a Source before an emulated Entra ID with so many organizations.
func newBench(t *testing.T, organizations int) *bench {
	t.Helper()
	var seed emulator.Seed
	for _, id := range []string{appID, otherAppID} {
		seed.Apps = append(seed.Apps, emulator.App{ClientID: id, Name: "bridge", Secrets: []string{appSecret}})
	}
	for i := range organizations {
		name := fmt.Sprintf("org%d", i)
		seed.Organizations = append(seed.Organizations, emulator.OrganizationSeed{
			Name: name, Hosts: []string{name + ".crm.dynamics.com"}, Consented: []string{appID, otherAppID},
		})
	}
	emu, err := emulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	transport := emu.Transport()
	b := &bench{Emulator: emu, questions: &asked{RoundTripper: transport}}
	b.Source, err = New(Options{
		Registration: tenants.Registration{ClientID: appID, Secret: secret.New(appSecret)},
		Login:        transport, Challenge: b.questions, LoginAllowed: func(string) bool { return true }, Log: zerolog.Nop(),
		ConsentLink: func(*tenants.Tenant, entra.Authority) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Source.Close()
		transport.CloseIdleConnections()
		emu.Close()
	})
	return b
}

func organization(i int) *tenants.Tenant {
	name := fmt.Sprintf("org%d", i)
	return &tenants.Tenant{Name: name, Org: "https://" + name + ".crm.dynamics.com"}
}

// spent is how many tokens and questions getting t's token costs.
func (b *bench) spent(t *testing.T, one *tenants.Tenant) (mints, questions int) {
	t.Helper()
	minted, put := b.Entra().TokenRequests(emulator.TokenRequest{}), b.questions.n.Load()
	if _, err := b.Token(t.Context(), one); err != nil {
		t.Fatalf("%s: %v", one.Name, err)
	}
	return b.Entra().TokenRequests(emulator.TokenRequest{}) - minted, int(b.questions.n.Load() - put)
}

// What no tenant needs any more is forgotten: its token, where its tokens came
// from, and the registration with its secret. The rest stays.
func TestSweepForgetsWhatIsGone(t *testing.T) {
	b := newBench(t, 2)
	stays, goes := organization(0), organization(1)
	goes.Registration = tenants.Registration{ClientID: otherAppID, Secret: secret.New(appSecret)}
	goes.SecretExpires = time.Now().Add(48 * time.Hour)
	for _, one := range []*tenants.Tenant{stays, goes} {
		if mints, questions := b.spent(t, one); mints != 1 || questions != 1 {
			t.Errorf("%s at first: %d mints, %d questions", one.Name, mints, questions)
		}
	}
	if kind, ends := b.Credential(goes); kind != "secret" || ends.IsZero() {
		t.Errorf("before: %s, %v", kind, ends)
	}
	dropped := b.heldOf(goes).Target()

	b.Changed(goes, nil)
	b.Sweep(slices.Values([]*tenants.Tenant{stays}))
	if mints, questions := b.spent(t, stays); mints+questions != 0 {
		t.Errorf("what stays: %d mints, %d questions", mints, questions)
	}
	if _, ends := b.Credential(goes); !ends.IsZero() {
		t.Errorf("its registration is still warned of: %v", ends)
	}
	if _, err := b.client.Token(t.Context(), dropped, ""); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("its secret is still known: %v", err)
	}
	if b.heldOf(goes) != nil {
		t.Error("its source is still held")
	}
	again := *goes
	if mints, questions := b.spent(t, &again); mints != 1 || questions != 1 {
		t.Errorf("when it comes back: %d mints, %d questions", mints, questions)
	}
}

// A tenant that changes and means the same token keeps it, whether its new
// settings name what the organization told or not; one that changes what its
// token comes from does not.
func TestSweepKeepsTheTokenOfAChangedTenant(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench, *tenants.Tenant)
		mints  int
	}{
		"read only":            {func(_ *bench, n *tenants.Tenant) { n.ReadOnly = true }, 0},
		"its tenant id is set": {func(b *bench, n *tenants.Tenant) { n.TenantID = b.Organization("org0").TenantID() }, 0},
		"another organization": {func(_ *bench, n *tenants.Tenant) { n.Org = organization(1).Org }, 1},
		"another registration": {func(_ *bench, n *tenants.Tenant) {
			n.Registration = tenants.Registration{ClientID: otherAppID, Secret: secret.New(appSecret)}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			old := organization(0)
			b.spent(t, old)
			next := *old
			c.change(b, &next)
			b.Changed(old, &next)
			b.Sweep(slices.Values([]*tenants.Tenant{&next}))
			if mints, _ := b.spent(t, &next); mints != c.mints {
				t.Errorf("%d mints, want %d", mints, c.mints)
			}
			b.Sweep(slices.Values([]*tenants.Tenant{&next}))
			if mints, questions := b.spent(t, &next); mints+questions != 0 {
				t.Errorf("and then: %d mints, %d questions", mints, questions)
			}
		})
	}
}

// A sweep looks at each tenant, and at each token, once or twice: none of the
// tokens is compared with all tenants.
func TestSweepIsNoQuadraticWalk(t *testing.T) {
	const many, held = 2000, 20
	b := newBench(t, held)
	all := make([]*tenants.Tenant, many)
	for i := range all {
		all[i] = organization(i)
		if i < held {
			b.spent(t, all[i])
			delete(b.held, all[i]) // as if each had changed
		}
	}
	looks := 0
	n := b.needsOf(func(yield func(*tenants.Tenant) bool) {
		for _, one := range all {
			if looks++; !yield(one) {
				return
			}
		}
	})
	for i := range held {
		target := entra.Target{Resource: all[i].Org, Credential: entra.Registration(b.own).Identity()}
		looks += len(n.toCome[place{target.Resource, target.Credential}])
	}
	if looks != many+held {
		t.Errorf("%d looks for %d tenants and %d tokens", looks, many, held)
	}
	b.Sweep(slices.Values(all))
	for _, one := range all[:held] {
		if mints, _ := b.spent(t, one); mints != 0 {
			t.Fatalf("%s lost its token", one.Name)
		}
	}
}
