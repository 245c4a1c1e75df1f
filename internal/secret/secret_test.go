package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"dynproxy/internal/secret"
)

func TestTextNeverPrints(t *testing.T) {
	const value = "s3cr3t-value"
	held := struct {
		Name string
		Key  secret.Text
		Ptr  *secret.Text
	}{"n", secret.New(value), new(secret.Text)}
	*held.Ptr = secret.New(value)

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", held.Key)
		fmt.Fprintf(&out, verb+"\n", held)
	}
	if err := json.NewEncoder(&out).Encode(held); err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(&out)
	log.Info().Interface("a", held).Any("b", held.Key).Stringer("c", held.Key).Msgf("%v %+v", held, held.Key)

	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret was printed:\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing says that something was left out")
	}
	if held.Key.Reveal() != value {
		t.Errorf("Reveal = %q", held.Key.Reveal())
	}
}

func TestFingerprintTellsApart(t *testing.T) {
	a, b := secret.New("a").Fingerprint(), secret.New("b").Fingerprint()
	if a == b || len(a) != 16 || (secret.Text{}).Fingerprint() != "" {
		t.Errorf("fingerprints %q %q", a, b)
	}
}
