package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/sealed"
	"dynproxy/internal/secret"
)

// copyOf is a proxy's copy of the book in the Redis at url.
func copyOf(t *testing.T, url string, log *strings.Builder) *Mirror {
	t.Helper()
	c, err := cluster.Open(cluster.Options{URL: secret.New(url), Prefix: "test", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	c.Join(t.Context())
	vault := c.NewVault(func() []sealed.Key { return []sealed.Key{sealed.NewKey([]byte("the secret that all have"), "test")} })
	if err := vault.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &Mirror{Dir: t.TempDir(), Book: vault.Book(), Log: zerolog.New(log), Keep: true}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	return m
}

// What is written down of the copy matters after a restart alone. A change that
// Redis has taken stands, whether or not that can be written.
func TestAChangeStandsThoughTheCopyCannotBeNoted(t *testing.T) {
	server := redistest.Start(t)
	var log strings.Builder
	here, there := copyOf(t, server.URL(), &log), copyOf(t, server.URL(), new(strings.Builder))
	if err := os.Mkdir(filepath.Join(here.Dir, stateName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"contoso", "fabrikam"} {
		err := here.Change("tenant", name, func() error {
			return os.WriteFile(filepath.Join(here.Tenants(), name+".env"), []byte("ORG_URL=https://"+name), 0o600)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := there.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Mirror{here, there} {
		for _, name := range []string{"contoso", "fabrikam"} {
			if text, err := os.ReadFile(filepath.Join(m.Tenants(), name+".env")); string(text) != "ORG_URL=https://"+name {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	}
	if text := log.String(); strings.Count(text, "cannot be written down") != 1 {
		t.Errorf("it is told once: %s", text)
	}
	if err := os.Remove(filepath.Join(here.Dir, stateName)); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(here.Dir, stateName)); err != nil || !strings.Contains(string(text), "contoso") {
		t.Errorf("what could not be written down is not, when it can be: %s, %v", text, err)
	}
}
