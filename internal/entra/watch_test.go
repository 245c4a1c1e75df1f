package entra_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watch runs Watch until the end of the test.
func (h *harness) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.mint.Watch(ctx, h.cache.Changed) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// fingerprint is how the emulator names a secret.
func fingerprint(s string) emulator.TokenRequest {
	return emulator.TokenRequest{Credential: "secret:" + fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:8]}
}

func TestSecretFileIsReplacedUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, password+"\n")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 5, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		load := func(d time.Duration) {
			t.Helper()
			for began := time.Now(); time.Since(began) < d; time.Sleep(50 * time.Millisecond) {
				for i := range 4 {
					mustNotWait(t, h.source(i))
				}
			}
		}
		for i := range 4 {
			token(t, h.source(i))
		}
		load(time.Second)
		const next = "n3xt-canary"
		h.Entra().SetSecret(clientID, next, false)
		write(t, file, next)
		load(time.Second)
		if n := h.Entra().TokenRequests(fingerprint(next)); n != 1 {
			t.Errorf("%d requests with the new secret within a second", n)
		}
		h.Entra().RemoveSecret(clientID, password)
		load(3 * time.Hour / 60)
		if !strings.Contains(h.log.String(), `"credential":"secret"`) {
			t.Errorf("the log does not say which one lastAccepted:\n%s", h.log)
		}
		token(t, h.source(4))
	})
}

// A slip in the file loses no call: what is held serves, and what lastAccepted before
// is tried last.
func TestWrongSecretFileLosesNoCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, password)
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 5, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		token(t, h.source(0))
		for i, content := range []string{"typo", "", "\n", "-"} {
			write(t, file, content)
			if content == "-" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			mustNotWait(t, h.source(0))
			token(t, h.source(i+1))
		}
		log := h.log.String()
		if !strings.Contains(log, `"credential":"former secret"`) || !strings.Contains(log, "cannot be used; the former one stays") {
			t.Errorf("the log does not say so:\n%s", log)
		}
	})
}

func TestRightSecretEndsTheBreakAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "typo")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		refusal(t, h.source(0), entra.Credential)
		write(t, file, password)
		time.Sleep(time.Second)
		token(t, h.source(0))
	})
}

func TestEitherSecretServesDuringARotation(t *testing.T) {
	const next = "n3xt-canary"
	both := entra.Registration{ClientID: clientID, Secret: secret.New(password), SecretNext: secret.New(next)}
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 4, both)
		token(t, h.source(0))
		if !strings.Contains(h.log.String(), `"credential":"secret"`) {
			t.Errorf("which one?\n%s", h.log)
		}
		h.Entra().SetSecret(clientID, next, false)
		h.Entra().RemoveSecret(clientID, password)
		token(t, h.source(1))
		if !strings.Contains(h.log.String(), `"credential":"next secret"`) {
			t.Errorf("which one?\n%s", h.log)
		}
		before := h.requests()
		token(t, h.source(2)) // and from now on that one first
		if n := h.requests(); n != before+1 {
			t.Errorf("%d requests", n-before)
		}
		h.Entra().SetSecret(clientID, password, false)
		h.Entra().RemoveSecret(clientID, next)
		token(t, h.source(3))
	})
}

func TestEndsOfCredentialsAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		end := time.Now().Add(40*24*time.Hour + 12*time.Hour)
		h.mint.SecretExpires(h.identity, end)
		if e := h.mint.Expiries(); len(e) != 1 || !e[0].At.Equal(end) || e[0].ClientID != clientID || e[0].Credential != "secret" {
			t.Errorf("%v", e)
		}
		var days []int
		for seen := 0; time.Since(end) < 0; {
			// In pieces, since Watch looks at files some three times a second.
			time.Sleep(6*time.Hour - time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			h.mint.Watch(ctx, h.cache.Changed)
			cancel()
			lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
			for _, line := range lines[seen:] {
				var said struct {
					Days int
					Ends time.Time
				}
				if line == "" {
					continue
				}
				if err := json.Unmarshal([]byte(line), &said); err != nil {
					t.Fatal(err)
				}
				days = append(days, said.Days)
				seen++
			}
		}
		h.watch(t)
		time.Sleep(2 * time.Hour)
		if fmt.Sprint(days) != "[30 14 7 1]" {
			t.Errorf("warned with %v days left", days)
		}
		if n := strings.Count(h.log.String(), "has ended"); n != 1 {
			t.Errorf("the end was told %d times", n)
		}
	})
}

// A date that was set for a secret says nothing of the one that replaced it,
// and is taken anew when the settings change it.
func TestAReplacedSecretsDateDoesNotWarn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{ClientID: clientID, SecretFile: file})
		end := time.Now().Add(25 * time.Hour) // the next warning is due in an hour
		h.mint.SecretExpires(h.identity, end)
		h.watch(t)
		time.Sleep(time.Second)
		if n := strings.Count(h.log.String(), "ends soon"); n != 1 {
			t.Fatalf("warned %d times", n)
		}
		h.Entra().SetSecret(clientID, "another-one", false)
		if err := os.WriteFile(file, []byte("another-one"), 0o600); err != nil {
			t.Fatal(err)
		}
		token(t, h.source(0)) // which reads the file before the watch does
		time.Sleep(3 * time.Hour)
		if n := strings.Count(h.log.String(), "ends soon") + strings.Count(h.log.String(), "has ended"); n != 1 {
			t.Errorf("the former secret's date went on warning:\n%s", h.log)
		}
		h.mint.Retain(map[string]time.Time{h.identity: end})
		if e := h.mint.Expiries(); len(e) != 0 {
			t.Errorf("the same date came back: %v", e)
		}
		h.mint.Retain(map[string]time.Time{h.identity: end.AddDate(1, 0, 0)})
		if e := h.mint.Expiries(); len(e) != 1 {
			t.Errorf("a new date is not taken: %v", e)
		}
	})
}
