package source

import "testing"

func TestWhoIsOne(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":                  "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1234":         "192.0.2.1/32",
		"[2001:db8:0:1::5]:1":             "2001:db8:0:1::/64",
		"[2001:db8:0:1:ffff:ffff:0:9]:99": "2001:db8:0:1::/64",
		"[2001:db8:0:2::5]:1":             "2001:db8:0:2::/64",
		"[fe80::1%eth0]:80":               "fe80::/64",
		"[::1]:80":                        "::/64",
		"@":                               "invalid Prefix",
		"":                                "invalid Prefix",
	} {
		if got := OfRemote(remote).String(); got != want {
			t.Errorf("%q is of %s, want %s", remote, got, want)
		}
	}
}
