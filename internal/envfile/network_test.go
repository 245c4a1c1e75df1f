package envfile

import "testing"

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", " 10.1.2.3/16 ": "10.1.0.0/16", "fd00::1/8": "fd00::/8", "::1": "::1/128", "::ffff:10.1.2.3": "10.1.2.3/32",
		"": "", "10.1.2": "", "10.0.0.0/33": "", "fe80::1%eth0": "", "::ffff:10.0.0.0/104": "", "example.com": "",
	} {
		got, err := Network(text)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
