package tenants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/envfile"
)

func rules(t *testing.T, named ...string) *Rules {
	t.Helper()
	orgs, err := OrganizationHosts(named)
	if err != nil {
		t.Fatal(err)
	}
	logins, err := LoginHosts(named)
	if err != nil {
		t.Fatal(err)
	}
	return &Rules{Organizations: orgs, Logins: logins}
}

func TestOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://contoso.crm.dynamics.com":                          "https://contoso.crm.dynamics.com",
		" https://CONTOSO.crm4.Dynamics.com:443/ ":                  "https://contoso.crm4.dynamics.com",
		"https://127.0.0.1:8443":                                    "https://127.0.0.1:8443",
		"https://[::1]:8443/":                                       "https://[::1]:8443",
		"http://contoso.crm.dynamics.com":                           "",
		"contoso.crm.dynamics.com":                                  "",
		"https://contoso.crm.dynamics.com/api/data":                 "",
		"https://contoso.crm.dynamics.com?x":                        "",
		"https://user@contoso.crm.dynamics.com":                     "",
		"https://contoso.crm.dynamics.com@evil.com":                 "",
		"https://contoso.crm.dynamics.com\\@evil":                   "",
		"https://контосо.crm.dynamics.com":                          "",
		"https://[fe80::1%25eth0]":                                  "",
		"https:///x":                                                "",
		"https://contoso.crm.dynamics.com:99999":                    "",
		"https://contoso.crm.dynamics.com:0":                        "",
		"https://" + strings.Repeat("a", 64) + ".crm.dynamics.com":  "",
		"https://" + strings.Repeat("a.", 130) + "crm.dynamics.com": "",
		"https://": "",
		"":         "",
	} {
		got, err := originOf(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Origin(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestAllowedHosts(t *testing.T) {
	r := rules(t, "*.example.com", "crm.lan:8443", "localhost:*", "10.0.0.5")
	for host, want := range map[string]bool{
		"contoso.crm.dynamics.com": true, "contoso.api.crm22.dynamics.com": true,
		"contoso.crm.microsoftdynamics.us": true, "contoso.crm.appsplatform.us": true, "contoso.crm.dynamics.cn": true,
		"contoso.crm.dynamics.com:8443": false, "contoso.crm.dynamics.com.evil.com": false, "evil.com": false,
		"crm.dynamics.com": false, "a.b.crm.dynamics.com": false, "xcrm.dynamics.com": false,
		"a.example.com": true, "a.b.example.com": true, "example.com": false, "aexample.com": false, "a.example.com:444": false,
		"crm.lan:8443": true, "crm.lan": false, "localhost": true, "localhost:1": true, "10.0.0.5": true, "10.0.0.50": false,
	} {
		if got := r.Organizations.Allows(host); got != want {
			t.Errorf("Allows(%q) = %v", host, got)
		}
	}
	if r.Organizations.Named("contoso.crm.dynamics.com") || !r.Organizations.Named("10.0.0.5") {
		t.Error("Named is about the settings only")
	}
	if !r.Logins.Allows("login.microsoftonline.us") || r.Logins.Allows("login.evil.com") {
		t.Error("login hosts")
	}
	if _, err := OrganizationHosts([]string{"https://x"}); err == nil {
		t.Error("an address was taken for a host")
	}
}

func TestReadPlacesATenant(t *testing.T) {
	for org, want := range map[string][2]string{
		"https://contoso.crm4.dynamics.com":        {"login.microsoftonline.com", "https://contoso.api.crm4.dynamics.com"},
		"https://contoso.crm9.dynamics.com":        {"login.microsoftonline.com", "https://contoso.api.crm9.dynamics.com"},
		"https://contoso.api.crm.dynamics.com":     {"login.microsoftonline.com", "https://contoso.crm.dynamics.com"},
		"https://contoso.crm.microsoftdynamics.us": {"login.microsoftonline.us", "https://contoso.api.crm.microsoftdynamics.us"},
		"https://contoso.crm.appsplatform.us":      {"login.microsoftonline.us", "https://contoso.api.crm.appsplatform.us"},
		"https://contoso.crm.dynamics.cn":          {"login.partner.microsoftonline.cn", "https://contoso.api.crm.dynamics.cn"},
		"https://contoso.example.com:8443":         {"", ""},
	} {
		tenant, err := rules(t, "contoso.example.com:8443").Read("Contoso", map[string]string{"ORG_URL": org})
		if err != nil {
			t.Fatal(err)
		}
		if tenant.Name != "contoso" || tenant.Org != org || tenant.LoginHost != want[0] || tenant.Alias != want[1] {
			t.Errorf("%s: %+v", org, tenant)
		}
		if got, other := tenant.Organization(), strings.Replace(strings.TrimPrefix(org, "https://"), ".api.", ".", 1); got != other {
			t.Errorf("%s is known as %s", org, got)
		}
	}
}

func TestReadTellsEveryFault(t *testing.T) {
	const org = "https://contoso.crm.dynamics.com"
	for name, c := range map[string]struct {
		values map[string]string
		want   []string
	}{
		"nothing":           {nil, []string{"ORG_URL is missing"}},
		"a foreign host":    {map[string]string{"ORG_URL": "https://evil.com"}, []string{"DYNPROXY_ALLOWED_ORG_HOSTS"}},
		"several":           {map[string]string{"ORG_URL": "x", "BURST": "-1", "LIMITS": "maybe", "TENANT_ID": "common"}, []string{"ORG_URL", "BURST", "LIMITS", "TENANT_ID"}},
		"wrong kinds":       {map[string]string{"ORG_URL": org, "RATE": "fast", "QUEUE_WAIT": "30"}, []string{"RATE must be a number", "QUEUE_WAIT must be a duration"}},
		"NaN":               {map[string]string{"ORG_URL": org, "RATE": "NaN"}, []string{"RATE"}},
		"all at once":       {map[string]string{"ORG_URL": "http://x", "RATE": "fast", "BURST": "-1", "READONLY": "1", "CLIENT_ID": "<application id>", "CLIENT_SECRET": "change-me"}, []string{"ORG_URL must begin", "RATE must", "BURST must", "READONLY is not", "CLIENT_ID is still", "CLIENT_SECRET is still"}},
		"an example":        {map[string]string{"ORG_URL": "https://yourorg.crm.dynamics.com"}, []string{"ORG_URL is still an example"}},
		"a secret's id":     {map[string]string{"ORG_URL": org, "CLIENT_ID": "a", "CLIENT_SECRET": "7f6e2a10-2b7c-4d1e-9a4f-0c1b2d3e4f50"}, []string{"CLIENT_SECRET is a GUID, and so the secret's id"}},
		"a typing mistake":  {map[string]string{"ORG_URL": org, "READONLY": "true"}, []string{"READONLY is not a setting"}},
		"a login host":      {map[string]string{"ORG_URL": org, "LOGIN_HOST": "evil.com"}, []string{"LOGIN_HOST"}},
		"hosts":             {map[string]string{"ORG_URL": org, "HOSTS": "http://x"}, []string{"HOSTS"}},
		"paths":             {map[string]string{"ORG_URL": org, "PATHS": "api"}, []string{"PATHS"}},
		"dates":             {map[string]string{"ORG_URL": org, "SECRET_EXPIRES": "soon"}, []string{"SECRET_EXPIRES must be a date"}},
		"half a credential": {map[string]string{"ORG_URL": org, "CLIENT_SECRET": "s3cret"}, []string{"CLIENT_ID is missing"}},
		"no credential":     {map[string]string{"ORG_URL": org, "CLIENT_ID": "a"}, []string{"CLIENT_SECRET is missing"}},
		"an identity":       {map[string]string{"ORG_URL": org, "CLIENT_ID": "a", "MANAGED_IDENTITY": "foo"}, []string{"MANAGED_IDENTITY must be system, or the client id"}},
		"an identity's id":  {map[string]string{"ORG_URL": org, "CLIENT_ID": "a", "MANAGED_IDENTITY": "6f1a4c3e-5c1b-4b0e-9d6f"}, []string{"MANAGED_IDENTITY must be system, or the client id"}},
		"two credentials":   {map[string]string{"ORG_URL": org, "CLIENT_ID": "a", "CLIENT_SECRET": "s3cret", "CLIENT_CERTIFICATE_FILE": "f"}, []string{"exclude each other"}},
	} {
		_, err := rules(t).Read("contoso", c.values)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in\n%v", name, want, err)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	if _, err := rules(t).Read("-contoso", map[string]string{"ORG_URL": org}); err == nil {
		t.Error("a bad name was taken")
	}
}

// The managed identity of the machine itself is called so in any case of letters.
func TestManagedIdentities(t *testing.T) {
	for given, want := range map[string]string{
		"system": "system", "SYSTEM": "system", "System": "system", "6F1A4C3E-5c1b-4b0e-9d6f-0c1d2e3f4a5b": "6F1A4C3E-5c1b-4b0e-9d6f-0c1d2e3f4a5b",
	} {
		got, err := rules(t).Read("contoso", map[string]string{"ORG_URL": "https://contoso.crm.dynamics.com", "CLIENT_ID": "a", "MANAGED_IDENTITY": given})
		if err != nil || got.Registration.ManagedIdentity != want {
			t.Errorf("%s: %+v, %v", given, got, err)
		}
	}
}

// A path in a tenant's file leads from there, wherever the process runs; the
// file that an edit writes keeps it as it was.
func TestPathsOfATenantLeadFromItsFile(t *testing.T) {
	r := rules(t)
	r.Dir = filepath.Join(t.TempDir(), "tenants")
	values := map[string]string{"ORG_URL": "https://contoso.crm.dynamics.com", "CLIENT_ID": "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b", "CLIENT_SECRET_FILE": "../secrets/contoso"}
	got, err := r.Read("contoso", values)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(r.Dir), "secrets", "contoso"); got.Registration.SecretFile != want {
		t.Errorf("%q", got.Registration.SecretFile)
	}
	if values["CLIENT_SECRET_FILE"] != "../secrets/contoso" {
		t.Errorf("%q would be written", values)
	}
}

func TestDefaults(t *testing.T) {
	r := rules(t)
	r.Defaults = map[string]string{"RATE": "5", "READ_ONLY": "true"}
	got, err := r.Read("contoso", map[string]string{"ORG_URL": "https://contoso.crm.dynamics.com", "READ_ONLY": "false"})
	if err != nil || got.Rate != 5 || got.Burst != 5 || got.ReadOnly || got.Requests != 6000 || got.Window != 5*time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	if !got.Explicit("RATE") || !got.Explicit("READ_ONLY") || got.Explicit("REQUESTS") || got.Explicit("BURST") {
		t.Errorf("explicit are %v", got.explicit)
	}
	r.Defaults = map[string]string{"RATE": "x", "LIMITS": "x"}
	if faults := r.CheckDefaults("DYNPROXY_TENANT_"); !strings.Contains(faults.Error(), "DYNPROXY_TENANT_RATE") {
		t.Errorf("%v", faults)
	}
	r.Defaults = map[string]string{"ORG_URL": "https://contoso.crm.dynamics.com", "RAET": "1"}
	if faults := r.CheckDefaults("DYNPROXY_TENANT_"); len(faults) != 2 {
		t.Errorf("%v", faults)
	}
}

func TestListedTenants(t *testing.T) {
	b, err := Open(map[string]string{"Contoso": "https://contoso.crm.dynamics.com"}, "", rules(t))
	if err != nil {
		t.Fatal(err)
	}
	if b.Lookup("CONTOSO") == nil || b.Lookup("fabrikam") != nil || b.ByHost("x") != nil || b.Len() != 1 {
		t.Error("look-up")
	}
	_, err = Open(map[string]string{"a b": "https://contoso.crm.dynamics.com", "x": "http://s", "A": "https://a.crm.dynamics.com", "a": "https://a.crm.dynamics.com"}, "", rules(t))
	var faults envfile.Faults
	if !errors.As(err, &faults) || len(faults) != 3 {
		t.Errorf("%v", err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".env"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongFileHarmsNobodyElse(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "contoso", "ORG_URL=https://contoso.crm.dynamics.com\nHOSTS=contoso.crm.lan")
	write(t, dir, "broken", "ORG_URL")
	write(t, dir, "listed", "ORG_URL=https://other.crm.dynamics.com")
	b, err := Open(map[string]string{"listed": "https://listed.crm.dynamics.com"}, dir, rules(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(b.Faults())); !slices.Equal(got, []string{"broken", "listed"}) {
		t.Errorf("faults %v", got)
	}
	if b.Lookup("listed").Org != "https://listed.crm.dynamics.com" || b.ByHost("Contoso.CRM.lan") != b.Lookup("contoso") {
		t.Error("look-up")
	}

	// Two tenants cannot have one host; it is free again when its holder goes.
	write(t, dir, "fabrikam", "ORG_URL=https://fabrikam.crm.dynamics.com\nHOSTS=contoso.crm.lan")
	b.Refresh()
	if b.Lookup("fabrikam") != nil || !strings.Contains(fmt.Sprint(b.Faults()["fabrikam"]), "HOSTS contoso.crm.lan already belongs to tenant contoso") {
		t.Errorf("faults %v", b.Faults())
	}
	os.Remove(filepath.Join(dir, "contoso.env"))
	b.Refresh()
	if b.Lookup("contoso") != nil || b.ByHost("contoso.crm.lan") == nil || b.ByHost("contoso.crm.lan").Name != "fabrikam" {
		t.Error("the host was not handed on")
	}
}

// Readers see every tenant all the time while others come and go.
func TestReadersUnderChange(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, dir, fmt.Sprintf("t%d", i), fmt.Sprintf("ORG_URL=https://t%d.crm.dynamics.com\nHOSTS=t%d.lan", i, i))
	}
	b, err := Open(nil, dir, rules(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan Change, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Watch(ctx, func(changes []Change) {
			for _, c := range changes {
				changed <- c
			}
		}, func(err error) { t.Error(err) })
	})
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if b.Lookup("t7") == nil || b.ByHost("t7.lan") == nil {
					t.Error("t7 was not there")
					return
				}
				for range b.All() {
				}
			}
		})
	}
	for i := range 10 {
		write(t, dir, fmt.Sprintf("n%d", i), fmt.Sprintf("ORG_URL=https://n%d.crm.dynamics.com", i))
	}
	deadline := time.After(10 * time.Second)
	for b.Lookup("n9") == nil {
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("n9 was not seen")
		}
	}
	cancel()
	wg.Wait()
}

func FuzzRead(f *testing.F) {
	f.Add("contoso", "ORG_URL=https://contoso.crm.dynamics.com\nHOSTS=a.lan,b.lan\nRATE=1.5")
	f.Add("a", "ORG_URL=https://127.0.0.1\nPATHS=/x")
	f.Fuzz(func(t *testing.T, name, text string) {
		values, err := envfile.Parse([]byte(text))
		if err != nil {
			return
		}
		tenant, err := rules(t).Read(name, values)
		if (tenant == nil) == (err == nil) {
			t.Fatalf("%v, %v", tenant, err)
		}
		if tenant == nil {
			return
		}
		if again, err := originOf(tenant.Org); err != nil || again != tenant.Org || cloudOf(tenant.OrgHost()) == nil {
			t.Errorf("the book holds organization %q", tenant.Org)
		}
	})
}
