package entra_test

import (
	"net/http"
	"testing"

	"dynproxy/internal/entra"
)

// A sign-in's code goes to the login host and nowhere else.
func TestASignInFollowsNoRedirect(t *testing.T) {
	elsewhere := server(func(r *http.Request) (int, http.Header, string) {
		if r.URL.Host != login {
			t.Errorf("%s was asked", r.URL.Host)
		}
		return 307, http.Header{"Location": {"https://evil.example/"}}, ""
	})
	_, err := entra.SignIn(t.Context(), elsewhere, entra.Authority{Login: login, TenantID: tenant}, clientID, org, func(string) {})
	if err == nil {
		t.Error("it went well")
	}
}
