package main

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// The date on which a secret ends follows the settings, of the proxy and of a
// tenant, however often it is set, changed and taken back.
func TestTheEndOfASecretIsTakenBack(t *testing.T) {
	p := startEmulator(t, demoSeed())
	p.Entra().SetSecret(demoClientID, "another-secret", false)
	settings, dir := p.settings("contoso"), t.TempDir()
	settings[prefix+"TENANTS_DIR"] = dir
	file := filepath.Join(dir, "own.env")
	own := func(date string) {
		write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\nCLIENT_ID="+demoClientID+"\nCLIENT_SECRET=another-secret\n"+date))
	}
	f := startWithFile(t, settings)
	ends := func(tenant, want string) {
		t.Helper()
		var day time.Time
		if want != "" {
			day, _ = time.Parse(time.DateOnly, want)
		}
		f.eventually(tenant+" ends "+want, func() bool {
			facts, status := f.facts(t, tenant)
			return status == http.StatusOK && facts.Fault == "" && facts.CredentialEnds.Equal(day)
		})
	}
	f.get(whoAmIPath)
	for _, date := range []string{"2101-12-01", "", "2101-12-01", "2102-12-01", "2101-12-01", "", "2103-12-01"} {
		f.change("SECRET_EXPIRES=" + date)
		ends("contoso", date)
	}
	f.change("-SECRET_EXPIRES")
	ends("contoso", "")

	own("")
	ends("own", "")
	f.get("/own/api/data/v9.2/WhoAmI")
	for _, date := range []string{"2101-12-01", "", "2101-12-01", "2102-12-01", "2101-12-01", ""} {
		own("SECRET_EXPIRES=" + date + "\n")
		ends("own", date)
		f.get("/own/api/data/v9.2/WhoAmI")
		ends("own", date)
	}
}
