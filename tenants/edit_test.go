package tenants

import (
	"fmt"
	"sync"
	"testing"

	"dynproxy/internal/envfile"
)

// Each of many changes at once finds what those before it have written, and
// none takes the file from under another.
func TestChangesAtOnceLoseNothing(t *testing.T) {
	dir, held := t.TempDir(), rules(t)
	org := map[string]string{"ORG_URL": "https://contoso.crm.dynamics.com"}
	if _, err := Apply(dir, held, "contoso", Edit{Set: org, New: true}); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		want := map[string]string{"RATE": fmt.Sprint(round + 1), "BURST": "3", "REQUESTS": fmt.Sprint(round + 100), "CONCURRENCY": "9", "READ_ONLY": "true"}
		var wg sync.WaitGroup
		for name, value := range want {
			wg.Go(func() {
				if _, err := Apply(dir, held, "contoso", Edit{Set: map[string]string{name: value}}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		got, err := envfile.Load(dir, "contoso")
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("round %d: %s is %q, not %q", round, name, got[name], value)
			}
		}
	}
}
