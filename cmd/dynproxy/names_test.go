package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/status"
)

// Names of tenants and callers are asked for in any case of letters: what is
// said, done and recorded is of the one that is meant.
func TestNamesAreInAnyCaseOfLetters(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	put := func(file, text string) { write(t, filepath.Join(d.dir, file), []byte(text)) }
	put("tenants/bad.env", "ORG_URL=nonsense\n")
	put("tenants/twice.env", "ORG_URL="+p.OrgURL("contoso")+"\n")
	put("tenants/Twice.env", "ORG_URL="+p.OrgURL("contoso")+"\n")
	put("callers/bynet.env", "CIDRS=127.0.0.1/32,::1/128\n")
	put("callers/ByNet.env", "CIDRS=192.0.2.0/24\n")
	tenant := func(name string) (facts status.Tenant) {
		if code, text := d.ask("GET", "/api/tenants/"+name, ""); code == http.StatusOK {
			if err := json.Unmarshal([]byte(text), &facts); err != nil {
				t.Fatal(err)
			}
		}
		return facts
	}
	d.eventually("a check, since somebody looks", func() bool {
		facts := tenant("CONTOSO")
		return facts.Name == "contoso" && facts.State == status.Ready && facts.Report != nil && !facts.Since.IsZero()
	})
	d.eventually("the files", func() bool {
		code, _ := d.ask("GET", "/api/callers/bynet", "")
		return code == http.StatusOK && tenant("BAD").Fault != "" && tenant("TWICE").Organization != "" && tenant("Twice.env").Fault != ""
	})
	d.get("/Contoso/api/data/v9.2/WhoAmI")
	for path, want := range map[string]string{
		"/tenants/CONTOSO": `class="state ready"`, "/tenants/BAD": "ORG_URL", "/tenants/Twice.env": "case of letters",
		"/calls?tenant=CONTOSO&caller=BYNET": "WhoAmI", "/usage?tenant=CONTOSO": ">contoso<",
		"/api/calls?tenant=CONTOSO&caller=BYNET": "WhoAmI", "/api/usage?tenant=CONTOSO&caller=BYNET": `"tenant": "contoso"`,
		"/api/callers/BYNET": `"name": "bynet"`, "/api/callers/ByNet.env": "case of letters",
	} {
		if code, text := d.ask("GET", path, ""); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for name, want := range map[string]string{"CONTOSO": "contoso", "Bad": "bad", "Twice.env": "Twice.env"} {
		if code, to, text := d.fill("/tenants/"+name+"/check", nil); code != http.StatusSeeOther || to != "/tenants/"+want {
			t.Errorf("a check of %s: %d to %q %s", name, code, to, text)
		}
		if e := d.entries()[0]; e.Name != want || e.Action != "checked" {
			t.Errorf("recorded: %+v", e)
		}
	}
}
