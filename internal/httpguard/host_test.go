package httpguard

import (
	"net/http"
	"strings"
	"testing"
)

// Links are built of what Host says, so it must be what a URL can have there,
// however it comes.
func TestAHostIsANameOrAnAddressAndAPort(t *testing.T) {
	t.Parallel()
	_, addr := serve(t, Limits{})
	for host, sound := range map[string]bool{
		"": true, "proxy": true, "proxy:8080": true, "proxy:": true, "crm_proxy-1": true, "crm.lan.": true, "Crm.LAN.:8080": true, "1.2.3.4:1": true, "proxy:65535": true,
		"[::1]": true, "[::1]:8080": true, "[::1]:": true, "[::ffff:1.2.3.4]": true, "[fe80::1%25eth0]:80": true, "xn--bcher-kva.example": true,
		strings.Repeat("x.", 126) + "x": true, strings.Repeat("x.", 126) + "x.": true,

		"[::1": false, "::1]": false, "[::1]x": false, "[::1]]": false, "[[::1]]": false, "[::1]:8080:1": false, "[]": false, "[proxy]": false, "[1.2.3.4]": false, "[::g]": false, "[::1%]": false,
		"::1": false, "2001:db8::1": false, "a:b:c": false, "proxy:80:80": false, "proxy:abc": false, "proxy:99999": false, "proxy:65536": false, "proxy:0": false, "proxy:000080": false,
		":": false, ":8080": false, "%41": false, "proxy%2f": false, "a[b]": false, ".": false, "..": false, ".crm.lan": false, "crm..lan": false, "crm.lan..": false, ".:80": false,
		strings.Repeat("x", 300): false, strings.Repeat("x.", 127) + "x": false,
	} {
		want := said(faultHostForm)
		if sound {
			want = "200 GET / " + host
		}
		if got := talk(t, addr, 1, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got[0] != strings.TrimSpace(want) {
			t.Errorf("Host %q: got %q, want %q", host, got, want)
		}
		framed := &http.Request{Method: "GET", RequestURI: "/", Host: host, ProtoMajor: 2}
		if wrong := Rejected(framed.WithContext(contextOf(small))); sound != (wrong == nil) {
			t.Errorf("HTTP/2's :authority %q: %v", host, wrong)
		}
		if host == "" {
			continue
		}
		// HTTP/1.0 may name the host in its target alone.
		if got := talk(t, addr, 1, "GET http://"+host+"/ HTTP/1.0\r\n\r\n"); sound != strings.HasPrefix(got[0], "200 ") {
			t.Errorf("target %q: got %q", host, got)
		}
	}
}
