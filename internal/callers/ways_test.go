package callers

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// A stranger is offered what is set up here, and nothing else: by hints as by
// challenges.
func TestHintsOfferWhatIsSetUp(t *testing.T) {
	b := open(t, t.TempDir())
	for _, negotiate := range []bool{false, true} {
		if b.Negotiate = nil; negotiate {
			b.Negotiate = func(string) (string, string, error) { return "", "", errors.New("no ticket") }
		}
		for _, header := range []string{"NTLM TlRMTVNTUAAB", "ntlm x", "Negotiate YII="} {
			_, err := b.Identify(request("Authorization", header), netip.MustParseAddr("10.0.0.1"), nil)
			stranger, ok := errors.AsType[*Unauthorized](err)
			if !ok {
				t.Fatalf("%s: %v", header, err)
			}
			offered := strings.Contains(stranger.Hint, "use Kerberos (Negotiate)")
			if ntlm := !strings.HasPrefix(header, "Negotiate"); offered != (negotiate && ntlm) || (ntlm || !negotiate) && !strings.Contains(stranger.Hint, "Basic with the caller's name and key") {
				t.Errorf("%s, Negotiate set up: %v: %q", header, negotiate, stranger.Hint)
			}
		}
	}
}
