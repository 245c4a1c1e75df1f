package entra_test

import (
	"encoding/base64"
	"testing"

	"dynproxy/internal/entra"
)

// A claims challenge is understood in each form that HTTP allows, and what Entra
// ID would refuse is none.
func TestClaimsAreReadInAnyForm(t *testing.T) {
	const claims = `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}},"x":"??>>ÿ"}`
	std := base64.StdEncoding.EncodeToString([]byte(claims))
	for name, c := range map[string]struct {
		challenges []string
		want       string
	}{
		"as documented":        {[]string{`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="` + std + `"`}, claims},
		"the alphabet of URLs": {[]string{`Bearer error="insufficient_claims", claims="` + base64.URLEncoding.EncodeToString([]byte(claims)) + `"`}, claims},
		"without padding":      {[]string{`Bearer error="insufficient_claims", claims="` + base64.RawStdEncoding.EncodeToString([]byte(claims)) + `"`}, claims},
		"without quotes":       {[]string{`Bearer error=insufficient_claims, claims=` + std}, claims},
		"with blanks":          {[]string{`Bearer error = "insufficient_claims" , claims = "` + std + `"`}, claims},
		"with capitals":        {[]string{`Bearer Error="insufficient_claims", Claims="` + std + `"`}, claims},
		"claims first":         {[]string{`Bearer claims="` + std + `", error="insufficient_claims"`}, claims},
		"beside another":       {[]string{`Basic realm="x"`, `Bearer error="insufficient_claims", claims="` + std + `"`}, claims},
		"no JSON":              {[]string{`Bearer error="insufficient_claims", claims="aGVsbG8="`}, ""},
		"null":                 {[]string{`Bearer error="insufficient_claims", claims="bnVsbA=="`}, ""},
		"no base64":            {[]string{`Bearer error="insufficient_claims", claims="{}"`}, ""},
		"another error":        {[]string{`Bearer error="invalid_token", claims="` + std + `"`}, ""},
		"no claims":            {[]string{`Bearer error="insufficient_claims"`}, ""},
		"no challenge":         {nil, ""},
	} {
		if got := entra.Claims(c.challenges); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
