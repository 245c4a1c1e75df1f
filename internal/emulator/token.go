package emulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxForm bounds the body of a request to Entra ID, in bytes.
const maxForm = 1 << 20

// The grant types of a device that asks for its token: RFC 8628's, and the one
// that Microsoft's own libraries send.
const (
	deviceCodeGrant      = "urn:ietf:params:oauth:grant-type:device_code"
	deviceCodeGrantShort = "device_code"
)

// TokenRequest tells one kind of token request from another.
type TokenRequest struct {
	Tenant   string `json:"tenant"`   // as in the path
	Client   string `json:"client"`   // client id
	Resource string `json:"resource"` // the scope without /.default
	Grant    string `json:"grant"`    // grant_type
	// Credential is "secret:" and the first 8 hex digits of its SHA-256,
	// "certificate:" and its x5t#S256, "federated:" and its subject, or "".
	Credential string `json:"credential"`
}

// TokenRequests returns how many requests of that kind the token endpoint has
// received, refused ones included. An empty field stands for any value.
func (e *Entra) TokenRequests(like TokenRequest) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	total := 0
	for q, n := range e.asked {
		if like.covers(q) {
			total += n
		}
	}
	return total
}

// covers reports whether each field of q that is set has q's counterpart.
func (q TokenRequest) covers(other TokenRequest) bool {
	return (q.Tenant == "" || strings.EqualFold(q.Tenant, other.Tenant)) &&
		(q.Client == "" || strings.EqualFold(q.Client, other.Client)) &&
		(q.Resource == "" || strings.EqualFold(q.Resource, other.Resource)) &&
		(q.Grant == "" || q.Grant == other.Grant) &&
		(q.Credential == "" || strings.HasPrefix(other.Credential, q.Credential))
}

// serveToken is the token endpoint. A request is counted before any fault
// strikes it.
func (e *Entra) serveToken(w http.ResponseWriter, r *http.Request, tenantName string) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		e.writeRefusal(w, r, refuse(900144, TokenRequest{}, "grant_type"))
		return
	}
	form := r.PostForm
	if id, secret, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	q := TokenRequest{
		Tenant:     tenantName,
		Client:     form.Get("client_id"),
		Grant:      form.Get("grant_type"),
		Credential: credentialName(form),
	}
	q.Resource, _ = resourceOf(form.Get("scope"))
	e.mu.Lock()
	e.asked[q]++
	e.mu.Unlock()

	if e.applyFaults(w, r, q) {
		return
	}
	answer, refused := e.grant(r, q, form)
	if refused != nil {
		e.writeRefusal(w, r, refused)
		return
	}
	e.writeToken(w, q, answer)
}

// writeToken sends a token, maimed if a fault says so.
func (e *Entra) writeToken(w http.ResponseWriter, q TokenRequest, answer map[string]any) {
	at := moment{tenant: q.Tenant, client: q.Client}
	if _, ok := e.faults.take(WrongTokenType, at); ok {
		answer["token_type"] = "pop"
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, ok := e.faults.take(Truncated, at); ok {
		body = body[:len(body)/2]
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}

// grant judges a token request.
func (e *Entra) grant(r *http.Request, q TokenRequest, form url.Values) (map[string]any, *refusal) {
	if q.Grant == deviceCodeGrant || q.Grant == deviceCodeGrantShort {
		return e.grantDevice(q, form)
	}
	t, refused := e.directory(r, q)
	if refused != nil {
		return nil, refused
	}
	if q.Client == "" {
		return nil, refuse(900144, q, "client_id")
	}
	switch q.Grant {
	case "client_credentials":
		return e.grantApp(r, t, q, form)
	case "":
		return nil, refuse(900144, q, "grant_type")
	default:
		return nil, refuse(70003, q, q.Grant)
	}
}

// directory finds the tenant of a request, in the cloud of the host that was
// asked.
func (e *Entra) directory(r *http.Request, q TokenRequest) (*tenant, *refusal) {
	if strings.EqualFold(q.Tenant, "organizations") && q.Grant == "client_credentials" {
		return nil, refuse(50059, q, "")
	}
	if isShared(q.Tenant) {
		return nil, refuse(9001023, q, "")
	}
	t := e.tenant(q.Tenant)
	if t == nil {
		return nil, refuse(90002, q, "")
	}
	if asked, ok := loginCloud(strings.TrimSuffix(r.Host, ":443")); ok && asked != t.cloud() {
		return nil, refuse(900382, q, "")
	}
	return t, nil
}

// cloud names the login host of the cloud in which the tenant's organizations
// live.
func (t *tenant) cloud() string {
	for _, o := range t.organizations {
		for _, host := range o.hosts {
			return cloudLogin(host)
		}
	}
	return commercialLogin
}

// organization finds the organization of a resource, under any of its names.
func (t *tenant) organization(resource string) *Organization {
	for _, o := range t.organizations {
		if o.isResource(resource) {
			return o
		}
	}
	return nil
}

// grantApp issues a token to an app that proves who it is.
func (e *Entra) grantApp(r *http.Request, t *tenant, q TokenRequest, form url.Values) (map[string]any, *refusal) {
	if form.Get("scope") == "" {
		return nil, refuse(900144, q, "scope")
	}
	resource, code := resourceOf(form.Get("scope"))
	if code != 0 {
		return nil, refuse(code, q, form.Get("scope"))
	}
	a := e.app(q.Client)
	if a == nil {
		return nil, refuse(700016, q, "")
	}
	acr, refused := e.authenticate(a, r, t, q, form)
	if refused != nil {
		return nil, refused
	}
	if !e.Consented(t.id, q.Client) {
		return nil, refuse(7000229, q, "")
	}
	if t.organization(resource) == nil {
		return nil, refuse(500011, q, "")
	}
	principal := guid("service principal", t.id, strings.ToLower(q.Client))
	return e.issue(t, resource, form.Get("claims"), map[string]any{
		"appid": q.Client, "appidacr": acr, "idtyp": "app", "oid": principal, "sub": principal,
	})
}

// resourceOf reads the resource from a scope of the form <resource>/.default.
// The scopes of OpenID Connect beside it do not count. code is the AADSTS
// number of what is wrong, 0 if nothing is.
func resourceOf(scope string) (resource string, code int) {
	for _, s := range strings.Fields(scope) {
		switch s {
		case "openid", "profile", "email", "offline_access":
			continue
		}
		asked, ok := strings.CutSuffix(s, "/.default")
		switch {
		case !ok:
			return "", 1002012
		case resource != "":
			return "", 700022
		}
		resource = asked
	}
	if resource == "" {
		return "", 1002012
	}
	return resource, 0
}

// issue makes the answer that carries a token for resource with these claims
// and those that every token has.
func (e *Entra) issue(t *tenant, resource, asked string, claims map[string]any) (map[string]any, *refusal) {
	now := time.Now()
	e.mu.Lock()
	e.sequence++
	sequence, life, refreshIn := e.sequence, e.life, e.refreshIn
	e.mu.Unlock()

	claims["aud"] = resource
	claims["iss"] = issuer(t.id)
	claims["idp"] = issuer(t.id)
	claims["tid"] = t.id
	claims["iat"] = now.Unix()
	claims["nbf"] = now.Unix()
	claims["exp"] = now.Add(life).Unix()
	claims["uti"] = guid("token", sequence)
	claims["ver"] = "1.0"
	claims["xms_seq"] = sequence
	if asked != "" {
		claims["xms_asked"] = asked
	}
	token, err := e.keys.sign(claims)
	if err != nil {
		return nil, refuse(90033, TokenRequest{}, "")
	}
	answer := map[string]any{
		"token_type":     "Bearer",
		"expires_in":     int(life / time.Second),
		"ext_expires_in": int(life / time.Second),
		"access_token":   token,
	}
	if refreshIn > 0 {
		answer["refresh_in"] = int(refreshIn / time.Second)
	}
	return answer, nil
}

// issuer names who issues the tokens of a tenant.
func issuer(tenantID string) string { return "https://sts.windows.net/" + tenantID + "/" }
