package entra_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

// A line that is no answer is quoted by net/http; it may hold a token.
func TestAMalformedAnswerIsNotQuoted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 64<<10))
			io.WriteString(c, "t0k3n-canary is no status line\r\n\r\n")
			c.Close()
		}
	}()
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.DialTLSContext = way.DialContext
	m := entra.NewTokenClient(way, zerolog.Nop())
	id, err := m.Register(entra.Registration{ClientID: clientID, Secret: secret.New(password)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Token(t.Context(), entra.Target{Login: l.Addr().String(), TenantID: "contoso.example", ClientID: clientID, Resource: "https://contoso.crm.dynamics.com", Credential: id}, "")
	failed, ok := errors.AsType[*entra.Error](err)
	if !ok || failed.Class != entra.Transient {
		t.Fatalf("%v", err)
	}
	if text := fmt.Sprintf("%v %+v %v", err, failed, failed.Err); strings.Contains(text, "canary") {
		t.Errorf("quoted: %s", text)
	}
}

// What is wrong is told by the error, and by the numbers where one error
// stands for several things, in whatever form they come.
func TestNumbersAreReadInAnyForm(t *testing.T) {
	for _, c := range []struct {
		name, codes, oauth string
		want               entra.Class
		code               int // the first that was read
	}{
		{"strings", `["7000215"]`, "invalid_client", entra.Credential, 7000215},
		{"fractions", `[7000215.0]`, "invalid_client", entra.Credential, 7000215},
		{"an object", `{"a":1}`, "invalid_client", entra.Credential, 0},
		{"null", `null`, "invalid_client", entra.Credential, 0},
		{"no Dataverse in the tenant", `[650052]`, "invalid_client", entra.Configuration, 650052},
		{"Dataverse switched off", `[500014]`, "invalid_resource", entra.Configuration, 500014},
		{"a loop", `[50196]`, "invalid_grant", entra.Transient, 50196},
		{"the tenant is throttled", `[90055]`, "invalid_request", entra.Transient, 90055},
		{"no federated credential", `[70021]`, "invalid_request", entra.Credential, 70021},
		{"a credential that is missing", `[900144]`, "invalid_request", entra.Credential, 900144},
		{"blocked by a policy", `[53003]`, "interaction_required", entra.Configuration, 53003},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, target := minting(t, server(func(*http.Request) (int, http.Header, string) {
					return 400, nil, fmt.Sprintf(`{"error":%q,"error_description":"...","error_codes":%s}`, c.oauth, c.codes)
				}))
				_, err := m.Token(t.Context(), target, "")
				failed, ok := errors.AsType[*entra.Error](err)
				if !ok || failed.Class != c.want || c.code != 0 && (len(failed.Codes) == 0 || failed.Codes[0] != c.code) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// A good token is taken whatever stands beside it, and however it comes.
func TestAGoodTokenIsTakenInAnyForm(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, good)
	z.Close()
	with := func(more string) string { return `{` + more + `,` + good[1:] }
	life := func(n string) string { return strings.Replace(good, "3599", n, 1) }
	for name, c := range map[string]struct {
		body string
		life time.Duration
	}{
		"its scope is said":        {with(`"scope":"https://contoso.crm.dynamics.com/.default"`), 3599 * time.Second},
		"another scope":            {with(`"scope":"https://contoso.crm.dynamics.com/user_impersonation"`), 3599 * time.Second},
		"an id token of no form":   {with(`"id_token":"x.y.z","client_info":"-","ext_expires_in":"soon"`), 3599 * time.Second},
		"a renewal of no time":     {with(`"refresh_in":null`), 3599 * time.Second},
		"a renewal in words":       {with(`"refresh_in":"soon"`), 3599 * time.Second},
		"a renewal beyond the end": {with(`"refresh_in":1e300`), 3599 * time.Second},
		"a fraction":               {life("3599.5"), 3599500 * time.Millisecond},
		"a string with blanks":     {life(`" 3599 "`), 3599 * time.Second},
		"a life of years":          {life("4294967296"), 100 * 24 * time.Hour},
		"a life without end":       {life("1e999"), 100 * 24 * time.Hour},
		"gzip that nobody wanted":  {packed.String(), 3599 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				m, target := minting(t, server(func(*http.Request) (int, http.Header, string) {
					asked++
					return 200, nil, c.body
				}))
				token, err := m.Token(t.Context(), target, "")
				if err != nil || token.Header != "Bearer t0k3n-canary" || asked != 1 {
					t.Fatalf("%d requests, %v", asked, err)
				}
				if got := time.Until(token.Expires); got != c.life {
					t.Errorf("it is good for %v, want %v", got, c.life)
				}
			})
		})
	}
}

// A thousand tenants that are all called for the first time at once get their
// tokens, though each takes a second.
func TestAThousandColdTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, target := minting(t, server(func(*http.Request) (int, http.Header, string) {
			time.Sleep(time.Second)
			return 200, nil, good
		}))
		cache := &entra.Cache{Mint: m.Token, Log: zerolog.Nop()}
		defer cache.Close()
		var all sync.WaitGroup
		began := time.Now()
		for i := range 1000 {
			one := target
			one.Resource = fmt.Sprintf("https://org%d.crm.dynamics.com", i)
			all.Go(func() {
				if _, err := cache.Source(one).Token(t.Context()); err != nil {
					t.Errorf("tenant %d: %v", i, err)
				}
			})
		}
		all.Wait()
		t.Logf("all after %v", time.Since(began))
	})
}

func TestTwoRevocationsSoonAfterEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		s := h.source(0)
		for range 3 {
			old := token(t, s)
			if !s.Refused(old, "") || token(t, s) == old {
				t.Fatal("no renewal")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if s.Refused(token(t, s), "") {
			t.Error("who refuses everything is not paced")
		}
	})
}
