package entra_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

// Whatever happens, no secret, assertion or token is to be read anywhere.
func TestNothingSecretIsPrinted(t *testing.T) {
	dir := t.TempDir()
	file, federated := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	const next = "n3xt-canary"
	write(t, file, password)
	var printed safeBuffer
	var secrets []string
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 2, entra.Registration{ClientID: clientID, SecretFile: file, SecretNext: secret.New(next)})
		h.cache.Observe = func(target entra.Target, _ time.Duration, failed *entra.Error) {
			fmt.Fprintf(&printed, "%+v %+v\n", target, failed)
		}
		h.Entra().SetTokenLife(10*time.Minute, 0)
		h.watch(t)
		s := h.source(0)
		call := func() {
			header, err := s.Token(t.Context())
			if err == nil {
				secrets = append(secrets, strings.TrimPrefix(header, "Bearer "))
			}
			fmt.Fprintf(&printed, "%v %+v %#v\n", err, err, err)
			expires, failed := s.Held()
			fmt.Fprintf(&printed, "%v %+v %+v\n", expires, failed, h.mint.Expiries())
		}
		call()
		for _, kind := range []emulator.FaultKind{emulator.HTML, emulator.Empty, emulator.Truncated, emulator.WrongTokenType, emulator.Down} {
			h.inject(t, emulator.Fault{Kind: kind, Times: 7})
			time.Sleep(11 * time.Minute)
			call()
			time.Sleep(2 * time.Minute)
			call()
		}
		h.Entra().Heal()
		h.Entra().RemoveSecret(clientID, password)
		write(t, file, "s0me-canary")
		time.Sleep(11 * time.Minute)
		call()
		fs, issue := federate(t, h)
		target := fs.Target()
		target.Credential, _ = h.mint.Register(entra.Registration{ClientID: target.ClientID, FederatedTokenFile: federated})
		assertion := issue()
		write(t, federated, assertion)
		secrets = append(secrets, assertion)
		s = h.cache.Source(target)
		call()
		write(t, federated, assertion[:len(assertion)-9]+"canary")
		time.Sleep(11 * time.Minute)
		call()
		fmt.Fprint(&printed, h.log)
	})
	if len(secrets) < 6 || len(printed.String()) < 2000 {
		t.Fatalf("%d secrets, %d bytes: the story was not told", len(secrets), len(printed.String()))
	}
	for _, s := range append(secrets, password, next, "canary", "s0me-canary", "eyJ") {
		if strings.Contains(printed.String(), s) {
			t.Errorf("%q was printed", s)
		}
	}
}
