package emulator

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	assertionType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	exchangeAudience = "api://AzureADTokenExchange"

	// clockLeeway is by how much the clock of a client may be off.
	clockLeeway = 5 * time.Minute
)

// credentialName names the credential of a request without telling it.
func credentialName(form url.Values) string {
	if text := form.Get("client_assertion"); text != "" {
		t, err := parseJWT(text)
		switch {
		case err != nil:
			return "malformed"
		case strings.EqualFold(t.Claims.Issuer, form.Get("client_id")):
			return "certificate:" + urlForm(t.Header.Thumbprint)
		}
		return "federated:" + t.Claims.Subject
	}
	if secret := form.Get("client_secret"); secret != "" {
		sum := sha256.Sum256([]byte(secret))
		return "secret:" + hex.EncodeToString(sum[:4])
	}
	return ""
}

// authenticate lets an app prove who it is, by a secret or an assertion. acr
// is the token's word for how: "1" a secret, "2" an assertion.
func (e *Entra) authenticate(a *app, r *http.Request, t *tenant, q TokenRequest, form url.Values) (acr string, refused *refusal) {
	assertion, secret := form.Get("client_assertion"), form.Get("client_secret")
	switch {
	case assertion != "" && form.Get("client_assertion_type") != assertionType:
		return "", refuse(900144, q, "client_assertion_type")
	case assertion != "":
		return "2", e.checkAssertion(a, r, t, q, assertion)
	case secret != "":
		return "1", e.checkSecret(a, q, secret)
	}
	return "", refuse(7000218, q, "")
}

func (e *Entra) checkSecret(a *app, q TokenRequest, secret string) *refusal {
	e.mu.Lock()
	defer e.mu.Unlock()
	for held, expired := range a.secrets {
		if subtle.ConstantTimeCompare([]byte(held), []byte(secret)) != 1 {
			continue
		}
		if expired {
			return refuse(7000222, q, "")
		}
		return nil
	}
	return refuse(7000215, q, "")
}

// checkAssertion tells an assertion that the app signed itself, which names
// the app as its issuer, from a foreign identity's token.
func (e *Entra) checkAssertion(a *app, r *http.Request, t *tenant, q TokenRequest, text string) *refusal {
	assertion, err := parseJWT(text)
	if err != nil {
		return refuse(50027, q, "")
	}
	if strings.EqualFold(assertion.Claims.Issuer, q.Client) {
		return e.checkSelfSigned(a, r, t, q, assertion)
	}
	return e.checkFederated(a, q, assertion)
}

// checkSelfSigned wants PS256 by a registered certificate, this token endpoint
// as the audience, and an identifier that was not used before.
func (e *Entra) checkSelfSigned(a *app, r *http.Request, t *tenant, q TokenRequest, assertion *jwt) *refusal {
	var key *rsa.PublicKey
	for _, c := range a.Certificates {
		sum := sha256.Sum256(c.Raw)
		if base64url(sum[:]) == urlForm(assertion.Header.Thumbprint) {
			key, _ = c.PublicKey.(*rsa.PublicKey)
		}
	}
	c := assertion.Claims
	switch {
	case key == nil:
		return refuse(700027, q, "Thumbprint of key used by client: '"+assertion.Header.Thumbprint+"'.")
	case assertion.Header.Algorithm != "PS256" || assertion.verify(key) != nil:
		return refuse(700027, q, "Key was found, but use of the key to verify the signature failed.")
	case !strings.EqualFold(c.Subject, q.Client):
		return refuse(700021, q, "")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return isTokenEndpoint(a, r.Host, t, q) }):
		return refuse(700023, q, "")
	case !inTime(c):
		return refuse(700024, q, "")
	case c.ID == "" || !e.firstUse(q.Client+" "+c.ID, c.Expires):
		return refuse(50027, q, "")
	}
	return nil
}

// urlForm writes base64 of any alphabet and padding as RFC 7515 wants it.
// Microsoft's own library sends the thumbprint in the standard alphabet, and
// Entra ID takes it.
func urlForm(base64 string) string {
	return strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(base64)
}

// isTokenEndpoint reports whether an audience means the endpoint that is
// asked, or the tenant as a whole.
func isTokenEndpoint(audience, host string, t *tenant, q TokenRequest) bool {
	for _, name := range []string{q.Tenant, t.id} {
		base := "https://" + host + "/" + name
		for _, tail := range []string{"/oauth2/v2.0/token", "/v2.0"} {
			if strings.EqualFold(audience, base+tail) {
				return true
			}
		}
	}
	return false
}

func (e *Entra) checkFederated(a *app, q TokenRequest, assertion *jwt) *refusal {
	c := assertion.Claims
	for _, f := range a.Federated {
		audience := f.Audience
		if audience == "" {
			audience = exchangeAudience
		}
		// Entra ID compares all three with regard to case.
		if f.Issuer != c.Issuer || f.Subject != c.Subject || !slices.Contains(c.Audience, audience) {
			continue
		}
		switch {
		case f.Key == nil || assertion.verify(f.Key) != nil:
			return refuse(50012, q, "")
		case !inTime(c):
			return refuse(700024, q, "")
		}
		return nil
	}
	return refuse(70021, q, "Assertion Issuer: '"+c.Issuer+"'. Assertion Subject: '"+c.Subject+"'. Assertion Audience: '"+strings.Join(c.Audience, " ")+"'.")
}

// inTime reports whether now lies between nbf and exp, give or take the
// leeway.
func inTime(c claims) bool {
	now := time.Now()
	return c.Expires != 0 && now.Before(time.Unix(c.Expires, 0).Add(clockLeeway)) &&
		!now.Add(clockLeeway).Before(time.Unix(c.NotBefore, 0))
}

// firstUse reports whether an assertion was not seen before, and remembers it
// until it would be refused for its age.
func (e *Entra) firstUse(id string, expires int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := time.Now().Add(-clockLeeway).Unix()
	for seen, until := range e.used {
		if until < oldest {
			delete(e.used, seen)
		}
	}
	if _, seen := e.used[id]; seen {
		return false
	}
	e.used[id] = expires
	return true
}
