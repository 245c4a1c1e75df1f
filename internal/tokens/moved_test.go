package tokens

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
	"dynproxy/tenants"
)

// roundTrip is a far side of a few lines.
type roundTrip func(*http.Request) (status int, header http.Header, body string)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header, body := f(r)
	return &http.Response{StatusCode: status, Header: header, Request: r, ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// An organization that has moved to another tenant says so when it is asked.
// That is found out while calls come, whichever of the two refuses.
func TestAnOrganizationThatMovesIsFollowed(t *testing.T) {
	const before, after = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"
	for name, forgotten := range map[string]bool{"the organization refuses the token": false, "Entra ID knows it no more in the old tenant": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now atomic.Value
				now.Store(before)
				s, err := New(Options{
					Registration: tenants.Registration{ClientID: appID, Secret: secret.New(appSecret)}, Log: zerolog.Nop(),
					LoginAllowed: func(string) bool { return true },
					ConsentLink:  func(*tenants.Tenant, entra.Authority) string { return "" },
					Login: roundTrip(func(r *http.Request) (int, http.Header, string) {
						tenant := strings.Split(r.URL.Path, "/")[1]
						if forgotten && tenant != now.Load() {
							return 400, nil, `{"error":"invalid_resource","error_codes":[500011]}`
						}
						return 200, nil, `{"token_type":"Bearer","expires_in":600,"access_token":"of-` + tenant + `"}`
					}),
					Challenge: roundTrip(func(*http.Request) (int, http.Header, string) {
						return 401, http.Header{"Www-Authenticate": {"Bearer authorization_uri=https://login.microsoftonline.com/" + now.Load().(string) + "/oauth2/authorize"}}, ""
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				one := organization(0)
				one.LoginHost = "login.microsoftonline.com"
				header, err := s.Token(t.Context(), one)
				if err != nil || header != "Bearer of-"+before {
					t.Fatalf("%s, %v", header, err)
				}
				now.Store(after)
				time.Sleep(11 * time.Minute)
				for range 2 { // the second try is the next call, where there was no token to be refused
					if header, err = s.Token(t.Context(), one); err == nil && header != "Bearer of-"+after {
						s.Invalidate(one, header, nil)
						header, err = s.Token(t.Context(), one)
					}
				}
				if err != nil || header != "Bearer of-"+after {
					t.Errorf("%s, %v", header, err)
				}
			})
		})
	}
}
