package callers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/envfile"
	"dynproxy/internal/source"
)

var (
	lan  = netip.MustParseAddr("10.1.2.3")
	away = netip.MustParseAddr("192.0.2.9")
)

const person = "11111111-2222-3333-4444-555555555555"

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".env"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *Book {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(header ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func basic(name, key string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+key))
}

// who gives "name way objectid" or the error of Identify.
func who(b *Book, r *http.Request, addr netip.Addr, state *tls.ConnectionState) string {
	id, err := b.Identify(r, addr, state)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(id.Caller.Name + " " + id.Way + " " + id.ObjectID)
}

func TestReadNamesEveryFault(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	for want, values := range map[string]map[string]string{
		"":                                   {"KEY_SHA256": strings.ToUpper(hash), "RATE": "2.5", "METHODS": "get, post", "TENANTS": "Contoso", "CIDRS": "10.0.0.0/8,::1"},
		"KEY_SHA256":                         {},
		"KEY_SHA256_NEXT":                    {"KEY_SHA256": hash, "KEY_SHA256_NEXT": hash},
		"KEY_SHA256 ":                        {"KEY_SHA256": "s3cret-key"},
		"PRINCIPALS":                         {"PRINCIPALS": "svc-erp"},
		"PRINCIPALS ":                        {"PRINCIPALS": "svc@CORP=me"},
		"CIDRS":                              {"CIDRS": "10.0.0.0/33"},
		"TENANTS":                            {"KEY_SHA256": hash, "TENANTS": "a/b"},
		"METHODS":                            {"KEY_SHA256": hash, "METHODS": "GET POST"},
		"RATE":                               {"KEY_SHA256": hash, "RATE": "NaN"},
		"BURST":                              {"KEY_SHA256": hash, "BURST": "-1"},
		"WEIGHT":                             {"KEY_SHA256": hash, "WEIGHT": "0"},
		"READ_ONLY":                          {"KEY_SHA256": hash, "READ_ONLY": "perhaps"},
		"CALLER_OBJECT_ID":                   {"KEY_SHA256": hash, "CALLER_OBJECT_ID": "me"},
		"CALLER_OBJECT_ID and IMPERSONATION": {"KEY_SHA256": hash, "CALLER_OBJECT_ID": person, "IMPERSONATION": "true"},
		"KEY_SHA265":                         {"KEY_SHA256": hash, "KEY_SHA265": hash},
	} {
		c, err := read("erp", values)
		if want == "" {
			if err != nil || c.Burst != 3 || c.Weight != 1 || c.Tenants[0] != "contoso" || c.Methods[1] != "POST" {
				t.Errorf("%+v, %v", c, err)
			}
			continue
		}
		faults, ok := errors.AsType[envfile.Faults](err)
		if !ok || len(faults) != 1 || faults[0].Variable != strings.TrimSpace(want) {
			t.Errorf("%s: %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells a value: %v", err)
		}
	}
}

func TestIdentifyByEveryWay(t *testing.T) {
	synctest.Test(t, identifyByEveryWay) // wrong proofs are slowed: the wait costs nothing here
}

func identifyByEveryWay(t *testing.T) {
	dir := t.TempDir()
	unknown, _ := newKey()
	key, err := add(dir, "ERP", map[string]string{"CALLER_OBJECT_ID": person, "CERTIFICATE": "CN=erp, O=Contoso"})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := add(dir, "hr", map[string]string{"CERTIFICATE": "hr.corp.example"})
	put(t, dir, "mail", "CERTIFICATE=Ops@corp.example")
	put(t, dir, "mesh", "CERTIFICATE=spiffe://corp/Job")
	put(t, dir, "net", "CIDRS=10.0.0.0/8")
	put(t, dir, "host", "CIDRS=10.9.9.9")
	put(t, dir, "windows", "PRINCIPALS=Svc@CORP, ann@CORP="+person)
	b := open(t, dir)
	b.Negotiate = func(header string) (string, string, error) {
		user, good := strings.CutPrefix(header, "Negotiate ok-")
		if !good {
			return "", "", errors.New("no ticket")
		}
		return user + "@CORP", "Negotiate reply", nil
	}
	chain := func(leaf *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
	}
	uri, _ := url.Parse("spiffe://corp/Job")
	erp := &x509.Certificate{Subject: pkix.Name{CommonName: "erp", Organization: []string{"Contoso"}}}
	for _, c := range []struct {
		name  string
		r     *http.Request
		addr  netip.Addr
		state *tls.ConnectionState
		want  string
	}{
		{"key", request("X-Api-Key", key), away, nil, "erp key " + person},
		{"wrong key", request("X-Api-Key", unknown), lan, nil, "unknown key"},
		{"no key at all in it", request("X-Api-Key", ""), lan, nil, "unknown key"},
		{"the hash as key", request("X-Api-Key", hashKey(key)), lan, nil, "unknown key"},
		{"two keys", request("X-Api-Key", key, "X-Api-Key", key), lan, nil, "unknown key"},
		{"key before Basic", request("X-Api-Key", key, "Authorization", basic("hr", other)), lan, nil, "erp key " + person},
		{"basic", request("Authorization", basic("erp", key)), away, nil, "erp basic " + person},
		{"basic in other letters", request("Authorization", strings.Replace(basic(`CORP\Erp`, key), "Basic", "bASIC", 1)), away, nil, "erp basic " + person},
		{"basic with another's key", request("Authorization", basic("erp", other)), lan, nil, "unknown name or key"},
		{"basic without name", request("Authorization", basic("", key)), lan, nil, "unknown name or key"},
		{"basic of rubbish", request("Authorization", "Basic ="), lan, nil, "malformed Basic credentials"},
		{"two Authorizations", request("Authorization", basic("erp", key), "Authorization", basic("erp", key)), lan, nil, "repeated Authorization"},
		{"certificate by DN", request(), away, chain(erp), "erp certificate " + person},
		{"certificate unverified", request(), away, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{erp}}, reasonNothing},
		{"certificate by DNS name", request(), away, chain(&x509.Certificate{DNSNames: []string{"HR.corp.example"}}), "hr certificate"},
		{"certificate by CN", request(), away, chain(&x509.Certificate{Subject: pkix.Name{CommonName: "hr.corp.example"}}), "hr certificate"},
		{"certificate by mail", request(), away, chain(&x509.Certificate{EmailAddresses: []string{"ops@corp.example"}}), "mail certificate"},
		{"certificate by URI", request(), away, chain(&x509.Certificate{URIs: []*url.URL{uri}}), "mesh certificate"},
		{"a CN that looks like a mail address", request(), away, chain(&x509.Certificate{Subject: pkix.Name{CommonName: "ops@corp.example"}}), reasonNothing},
		{"a DNS name that looks like a DN", request(), away, chain(&x509.Certificate{DNSNames: []string{"CN=erp,O=Contoso"}}), reasonNothing},
		{"a CN that looks like a URI", request(), away, chain(&x509.Certificate{Subject: pkix.Name{CommonName: "spiffe://corp/Job"}}), reasonNothing},
		{"kerberos", request("Authorization", "Negotiate ok-svc"), away, nil, "windows negotiate"},
		{"kerberos of a person", request("Authorization", "negotiate ok-ANN"), away, nil, "windows negotiate " + person},
		{"kerberos of a stranger", request("Authorization", "Negotiate ok-eve"), lan, nil, "principal eve@CORP is in no caller's file"},
		{"kerberos refused", request("Authorization", "Negotiate x"), lan, nil, "Negotiate: no ticket"},
		{"NTLM", request("Authorization", "NTLM TlRMTVNTUAAB"), lan, nil, "NTLM"},
		{"address", request(), lan, nil, "net address"},
		{"address in IPv6 form", request(), netip.MustParseAddr("::ffff:10.1.2.3"), nil, "net address"},
		{"the narrowest network", request(), netip.MustParseAddr("10.9.9.9"), nil, "host address"},
		{"an app's own bearer token", request("Authorization", "Bearer x"), lan, nil, "net address"},
		{"nothing", request(), away, nil, reasonNothing},
	} {
		if got := who(b, c.r, c.addr, c.state); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := strings.Join(b.Challenges(), "; "); got != `Negotiate; Basic realm="dynproxy", charset="UTF-8"` {
		t.Errorf("challenges %s", got)
	}
	if none := open(t, ""); none.Configured() || none.Challenges() != nil {
		t.Error("a book without directory challenges")
	}
	if empty := open(t, t.TempDir()); !empty.Configured() || who(empty, request(), lan, nil) != reasonNothing {
		t.Error("an empty directory lets callers in")
	}
}

func TestAllows(t *testing.T) {
	c, err := read("erp", map[string]string{"CIDRS": "10.0.0.0/8", "TENANTS": "contoso", "METHODS": "GET"})
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Allows("Contoso", "GET", lan); d != nil {
		t.Error(d)
	}
	for i, d := range []*Denied{c.Allows("fabrikam", "GET", lan), c.Allows("contoso", "POST", lan), c.Allows("contoso", "GET", away), c.Allows("contoso", "GET", netip.Addr{})} {
		if d == nil {
			t.Errorf("%d is allowed", i)
		}
	}
}

func TestRotateKeepsOneKeyValidThroughout(t *testing.T) {
	dir := t.TempDir()
	first, err := add(dir, "erp", nil)
	if err != nil {
		t.Fatal(err)
	}
	os.Rename(filepath.Join(dir, "erp.env"), filepath.Join(dir, "ERP.env")) // by hand, say
	valid := func(key string) bool {
		return who(open(t, dir), request("X-Api-Key", key), lan, nil) == "erp key"
	}
	rotate := func(name string) (string, error) {
		w, err := Rotate(dir, name)
		if err != nil {
			return "", err
		}
		if text := fmt.Sprint(w.Before, w.After); strings.Contains(text, "[redacted]") == regexp.MustCompile(`[0-9a-f]{64}`).MatchString(text) {
			t.Errorf("hashes are shown: %s", text)
		}
		return w.Key, nil
	}
	second, err := rotate("Erp")
	if err != nil || len(second) != keyLength || !valid(first) || !valid(second) {
		t.Fatalf("first step: %v; old %v, new %v", err, valid(first), valid(second))
	}
	if entries := open(t, dir).Entries(); len(entries) != 1 || entries[0].Caller.Keys() != 2 {
		t.Errorf("listed %+v", entries)
	}
	done, err := rotate("erp")
	if err != nil || done != "" || valid(first) || !valid(second) {
		t.Errorf("second step: %q %v; old %v, new %v", done, err, valid(first), valid(second))
	}
	if _, err := add(dir, "ERP", nil); err == nil {
		t.Error("added twice")
	}
	if _, err := Remove(dir, "Erp"); err != nil || valid(second) {
		t.Errorf("removed: %v", err)
	}
	_, missing := Remove(dir, "erp")
	if _, err := Rotate(dir, "erp"); err == nil || missing == nil {
		t.Error("what is not there was changed")
	}
	if _, err := add(dir, "new", map[string]string{"RATE": "fast"}); err == nil {
		t.Error("a wrong setting was written")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Of two rotations at once, one makes a key and the other ends the old one: no
// key is given out that was written over.
func TestRotationsAtOnceGiveOutNoDeadKey(t *testing.T) {
	for range 10 {
		dir := t.TempDir()
		if _, err := add(dir, "erp", nil); err != nil {
			t.Fatal(err)
		}
		keys := make(chan string, 2)
		for range cap(keys) {
			go func() {
				w, err := Rotate(dir, "erp")
				if err != nil {
					t.Error(err)
					keys <- ""
					return
				}
				keys <- w.Key
			}()
		}
		for _, key := range []string{<-keys, <-keys} {
			if key != "" && who(open(t, dir), request("X-Api-Key", key), lan, nil) != "erp key" {
				t.Error("a key was given out that is not valid")
			}
		}
	}
}

// A wrong file is not written over, and is told by its name and all its lines.
func TestAWrongFileIsLeftAndNamed(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "odd", "KEY\nTENANTS\n")
	_, added := add(dir, "odd", nil)
	_, rotated := Rotate(dir, "odd")
	for _, err := range []error{added, rotated} {
		if _, taken := errors.AsType[*TakenError](err); !taken || !strings.Contains(err.Error(), filepath.Join(dir, "odd.env")) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v", err)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "odd.env")); string(text) != "KEY\nTENANTS\n" {
		t.Errorf("the file is %q", text)
	}
}

func TestKeyIsNowhereInTheFile(t *testing.T) {
	dir := t.TempDir()
	key, _ := add(dir, "erp", nil)
	text, err := os.ReadFile(filepath.Join(dir, "erp.env"))
	raw, _ := base64.RawURLEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 || strings.Contains(string(text), key) || strings.Contains(string(text), fmt.Sprintf("%x", raw)) {
		t.Errorf("%v: %s", err, text)
	}
}

func TestWrongFileKeepsTheLastGoodState(t *testing.T) {
	dir := t.TempDir()
	key, _ := add(dir, "erp", nil)
	put(t, dir, "net", "CIDRS=10.0.0.0/8")
	b := open(t, dir)
	scan := func() []Change {
		changes, err := b.Refresh()
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	put(t, dir, "erp", "KEY_SHA256=broken")
	put(t, dir, "twin", "KEY_SHA256="+hashKey(key))
	put(t, dir, "near", "CIDRS=10.0.0.0/8")
	changes := scan()
	if len(changes) != 3 || changes[0].Fault == nil || changes[1].Fault == nil || changes[2].Fault == nil || len(b.Faults()) != 3 {
		t.Fatalf("changes %+v", changes)
	}
	if got := who(b, request("X-Api-Key", key), away, nil); got != "erp key" {
		t.Errorf("the caller of the wrong file: %s", got)
	}
	if got := who(b, request(), lan, nil); got != "net address" {
		t.Errorf("the network: %s", got)
	}
	// Two files that pass a claim on, whichever is read first.
	put(t, dir, "aaa", "CERTIFICATE=one")
	put(t, dir, "zzz", "CERTIFICATE=two")
	scan()
	put(t, dir, "aaa", "CERTIFICATE=two")
	put(t, dir, "zzz", "CERTIFICATE=three")
	scan()
	if b.Lookup("aaa").Certificate != "two" || b.Lookup("zzz").Certificate != "three" || len(b.Faults()) != 3 {
		t.Errorf("claims were not passed on: %v", b.Faults())
	}
	// Renaming a file hands over what it stood for.
	os.Remove(filepath.Join(dir, "erp.env"))
	os.Remove(filepath.Join(dir, "near.env"))
	scan()
	if got := who(b, request("X-Api-Key", key), away, nil); got != "twin key" || len(b.Faults()) != 0 {
		t.Errorf("after the rename: %s, faults %v", got, b.Faults())
	}
}

func TestWatchTakesChangesWithinASecond(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	told := make(chan Change, 10)
	wg.Go(func() {
		b.Watch(ctx, func(changes []Change) {
			for _, c := range changes {
				told <- c
			}
		}, func(err error) { t.Error(err) })
	})
	defer wg.Wait()
	defer cancel()
	key, err := add(dir, "erp", nil)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-told:
		if c.Name != "erp" || c.New == nil || who(b, request("X-Api-Key", key), lan, nil) != "erp key" {
			t.Errorf("told %+v", c)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not told")
	}
}

func TestRateIsTheCallersOwnAndOutlivesAnEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		put(t, dir, "erp", "CIDRS=10.0.0.0/8\nRATE=2\nBURST=3")
		b := open(t, dir)
		for i := range 3 {
			if wait := b.Lookup("ERP").Wait(t.Context(), nil); wait != 0 {
				t.Errorf("request %d waits %v", i, wait)
			}
		}
		put(t, dir, "erp", "CIDRS=10.0.0.0/8\nRATE=2\nBURST=3\nWEIGHT=2")
		b.Refresh()
		for range 2 { // who is turned away takes nothing
			if wait := b.Lookup("erp").Wait(t.Context(), nil); wait != 500*time.Millisecond {
				t.Errorf("waits %v", wait)
			}
		}
		time.Sleep(500 * time.Millisecond)
		if wait := b.Lookup("erp").Wait(t.Context(), nil); wait != 0 {
			t.Errorf("after half a second waits %v", wait)
		}
	})
}

func TestWrongProofsAreSlowedAndRightOnesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		key, _ := add(dir, "erp", nil)
		b := open(t, dir)
		took := func(r *http.Request) time.Duration {
			start := time.Now()
			b.Identify(r, lan, nil)
			return time.Since(start)
		}
		for range 20 {
			if d := took(request()); d != 0 { // asking which ways there are
				t.Fatalf("asking took %v", d)
			}
		}
		var times []time.Duration
		for range 12 {
			times = append(times, took(request("X-Api-Key", "wrong")))
		}
		if got := fmt.Sprint(times); got != "[0s 0s 0s 0s 0s 50ms 100ms 200ms 400ms 800ms 1s 1s]" {
			t.Errorf("delays %s", got)
		}
		if d := took(request("X-Api-Key", key)); d != 0 {
			t.Errorf("the right key took %v", d)
		}
		if failuresOf(b, lan) != 12 || failuresOf(b, away) != 0 {
			t.Errorf("counted %d, and %d of a stranger", failuresOf(b, lan), failuresOf(b, away))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if d := took(request("X-Api-Key", "wrong").WithContext(gone)); d != 0 {
			t.Errorf("a caller that left held on for %v", d)
		}
		time.Sleep(failureMemory + time.Second)
		if d := took(request("X-Api-Key", "wrong")); d != 0 || failuresOf(b, lan) != 1 {
			t.Errorf("after a quiet time %v", d)
		}
	})
}

// failuresOf returns how many wrong proofs of addr b remembers.
func failuresOf(b *Book, addr netip.Addr) int {
	b.failures.mu.Lock()
	defer b.failures.mu.Unlock()
	at := b.failures.bySource[source.Of(addr)]
	if at == nil {
		return 0
	}
	return at.Value.(*failing).count
}

func TestFailuresStayWithinBounds(t *testing.T) {
	var f failures
	for i := range 3 * failingRemember {
		f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), time.Now())
	}
	if len(f.bySource) != failingRemember || f.recent.Len() != failingRemember {
		t.Errorf("%d remembered, %d in order", len(f.bySource), f.recent.Len())
	}
	var six failures
	for i := range 10 {
		six.add(netip.MustParseAddr(fmt.Sprintf("fd00::%x", i+1)), time.Now())
	}
	if len(six.bySource) != 1 {
		t.Errorf("one network counts as %d", len(six.bySource))
	}
}

func FuzzBasic(f *testing.F) {
	f.Add("ZXJwOmtleQ==")
	f.Add(base64.StdEncoding.EncodeToString([]byte(`CORP\erp:a:b`)))
	f.Fuzz(func(t *testing.T, credential string) {
		name, key, ok := parseBasic(credential)
		if !ok {
			return
		}
		text, err := base64.StdEncoding.DecodeString(credential)
		if err != nil || !strings.HasSuffix(string(text), name+":"+key) || strings.Contains(name, ":") {
			t.Errorf("%q gives %q, %q", credential, name, key)
		}
	})
}

func FuzzCallerFile(f *testing.F) {
	f.Add([]byte("KEY_SHA256=" + strings.Repeat("0a", 32) + "\nRATE=1\nCIDRS=10.0.0.0/8"))
	f.Add([]byte("PRINCIPALS=a@B=" + person + "\nMETHODS=GET\nTENANTS=x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := envfile.Parse(text)
		if err != nil {
			return
		}
		c, err := read("erp", values)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c == nil {
			return
		}
		if len(c.claims()) == 0 || c.Burst < 1 || c.Weight < 1 || c.Impersonation && c.CallerObjectID != "" {
			t.Errorf("%+v", c)
		}
		c.Allows("x", "GET", lan)
		c.Wait(t.Context(), nil)
	})
}

// A hash may be of any key: who has one already brings it along.
func TestAKeyOfAnyLengthIsKnownByItsHash(t *testing.T) {
	dir := t.TempDir()
	for name, key := range map[string]string{"short": "a key that an app has had for years", "long": strings.Repeat("k", longestKey), "longer": strings.Repeat("k", longestKey+1)} {
		if err := os.WriteFile(filepath.Join(dir, name+".env"), []byte("KEY_SHA256="+hashKey(key)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a key that an app has had for years": "short key", strings.Repeat("k", longestKey): "long key", strings.Repeat("k", longestKey+1): "unknown key",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Api-Key", key)
		if got := who(b, r, netip.MustParseAddr("192.0.2.7"), nil); got != want {
			t.Errorf("a key of %d characters: %s", len(key), got)
		}
	}
}

// add writes the file of a new caller into dir, with the given settings and a
// new key, which it returns.
func add(dir, name string, settings map[string]string) (key string, err error) {
	w, err := Apply(dir, name, Edit{Set: settings, New: true, Fresh: true})
	if err != nil {
		return "", err
	}
	return w.Key, nil
}

// Of addresses that fail, the one that was quiet longest is forgotten, and not
// the one that came first.
func TestWhoFailsAgainIsNotForgotten(t *testing.T) {
	var f failures
	now, again := time.Now(), netip.MustParseAddr("192.0.2.1")
	for range freeFailures {
		f.add(again, now)
	}
	for i := range failingRemember - 1 {
		f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	f.add(again, now)
	f.add(netip.MustParseAddr("192.0.2.2"), now)
	if f.add(again, now) == 0 {
		t.Error("it begins anew")
	}
}

// A whole set of settings replaces all but the keys, and a caller that proves
// itself otherwise gets none.
func TestAWholeSetLeavesTheKeys(t *testing.T) {
	dir := t.TempDir()
	key, err := add(dir, "webform", map[string]string{"READ_ONLY": "true", "RATE": "5"})
	if err != nil || key == "" {
		t.Fatal(err)
	}
	w, err := Apply(dir, "webform", Edit{Set: map[string]string{"READ_ONLY": "false"}, Whole: true, New: true})
	if err != nil || w.Key != "" || w.Caller.Keys() != 1 || w.After["RATE"] != "" || w.After["READ_ONLY"] != "false" {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = Apply(dir, "host", Edit{Set: map[string]string{"CIDRS": "192.0.2.7"}, New: true, NoKey: true})
	if err != nil || w.Key != "" || w.Caller.Keys() != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}
