package httpguard

import (
	"maps"
	"net/http"
	"slices"
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

// Of a refused request the access line tells the Host and the User-Agent that
// it sent, where there is no doubt about them, and never one that it did not.
func TestARefusedRequestKeepsItsHostAndAgent(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	_, addr := behind(t, nil, *small, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Host + "|" + r.UserAgent()
		if names := slices.Sorted(maps.Keys(r.Header)); len(names) > 3 {
			t.Errorf("more was kept: %q", names)
		}
		echo(w, r)
	})
	const from = "Host: proxy:8080\r\nUser-Agent: curl/8\r\nX-Api-Key: s3cret\r\n"
	for raw, want := range map[string]string{
		"GET /a b HTTP/1.1\r\n" + from + "\r\n":                                                  "proxy:8080|curl/8",
		"GET / HTTP/1.1\r\nA Key: x\r\n" + from + "\r\n":                                         "proxy:8080|curl/8",
		"POST / HTTP/1.1\r\n" + from + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n": "proxy:8080|curl/8",
		"GET / HTTP/1.1\r\n" + from + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n":             "proxy:8080|curl/8",
		"GET / HTTP/1.1\r\nHOST:proxy\r\nuser-agent: a  b \r\nX: \x01\r\n\r\n":                   "proxy|a  b",
		"GET / HTTP/1.1\r\n" + from + "Host: other\r\n\r\n":                                      "|curl/8",
		"GET / HTTP/1.1\r\n" + from + "User-Agent: other\r\nExpect: x\r\n\r\n":                   "proxy:8080|",
		"GET / HTTP/1.1\r\nHost: [::1\r\nUser-Agent: \x02\r\n\r\n":                               "|",
		"GET / HTTP/1.1\r\nX: a\nHost: b\r\n\r\n":                                                "|",
		"GET /a b HTTP/1.1\r\nX: a\r\n Host: b\r\n\r\nHost: c\r\n\r\n":                           "|",
		"GET /a b HTTP/1.1\r\nUser-Agent: " + strings.Repeat("x", 2000) + "\r\nHost: a\r\n\r\n":  "a|" + strings.Repeat("x", mostOfAgent),
		"GET /" + strings.Repeat("x", 2000):                                                      "|",
		"SSH-2.0-x\r\n":                                                                          "|",
	} {
		talk(t, addr, 1, raw)
		if got := <-seen; got != want {
			t.Errorf("%.60q: got %q, want %q", raw, got, want)
		}
	}
}
