package emulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// consentForm is one of the three ways in which an administrator is asked.
type consentForm int

const (
	consentV2   consentForm = iota // /{tenant}/v2.0/adminconsent, with a scope
	consentV1                      // /{tenant}/adminconsent
	consent2017                    // /common/oauth2/authorize?prompt=admin_consent
)

// consentQuestion is a request for consent that was found to be in order.
type consentQuestion struct {
	form     consentForm
	app      *app
	tenants  []*tenant // of which the administrator may be; one if the path names it
	redirect *url.URL
	state    string
	scope    string
	nonce    string
}

// serveConsent shows the consent page, and acts on what the emulated
// administrator decides on it.
func (e *Entra) serveConsent(w http.ResponseWriter, r *http.Request, tenantName, path string) {
	q, refused := e.readConsent(r, tenantName, path)
	if refused != nil {
		writePage(w, http.StatusBadRequest, errorPage, refused)
		return
	}
	if r.Method == http.MethodGet {
		writePage(w, http.StatusOK, consentPage, q.page(r))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	t := q.tenant(r.PostFormValue("tenant"))
	if t == nil {
		writePage(w, http.StatusBadRequest, errorPage, refuse(90002, TokenRequest{Tenant: r.PostFormValue("tenant")}, ""))
		return
	}
	accepted := r.PostFormValue("decision") == "accept"
	if accepted {
		if refused := q.checkResource(t); refused != nil {
			writePage(w, http.StatusBadRequest, errorPage, refused)
			return
		}
		e.Consent(t.id, q.app.ClientID)
	}
	if q.form == consent2017 {
		e.postBack(w, q, t, accepted)
		return
	}
	to := *q.redirect
	values := to.Query()
	for name, value := range q.outcome(t, accepted) {
		values.Set(name, value)
	}
	to.RawQuery = values.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// readConsent judges the query of a request for consent.
func (e *Entra) readConsent(r *http.Request, tenantName, path string) (*consentQuestion, *refusal) {
	query := r.URL.Query()
	about := TokenRequest{Tenant: tenantName, Client: query.Get("client_id")}
	q := &consentQuestion{state: query.Get("state"), scope: query.Get("scope"), nonce: query.Get("nonce")}
	switch {
	case path == "adminconsent":
		q.form = consentV1
	case path == "oauth2/authorize" && query.Get("prompt") != "admin_consent":
		return nil, refuse(70003, about, "prompt="+query.Get("prompt"))
	case path == "oauth2/authorize":
		q.form = consent2017
	}
	if q.app = e.app(about.Client); q.app == nil {
		return nil, refuse(700016, about, "")
	}
	// The v2 form does not know "common".
	if q.tenants = e.administrators(tenantName); len(q.tenants) == 0 || q.form == consentV2 && strings.EqualFold(tenantName, "common") {
		return nil, refuse(90002, about, "")
	}
	var refused *refusal
	if q.redirect, refused = e.redirect(q.app, query.Get("redirect_uri"), q.form, about); refused != nil {
		return nil, refused
	}
	if q.form == consentV2 {
		if _, code := resourceOf(q.scope); code != 0 {
			return nil, refuse(code, about, q.scope)
		}
	}
	return q, nil
}

// administrators returns the tenants of which a visitor may be: the one named,
// or all for a shared name.
func (e *Entra) administrators(name string) []*tenant {
	if !isShared(name) {
		if t := e.tenant(name); t != nil {
			return []*tenant{t}
		}
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*tenant
	for _, t := range e.tenants {
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *tenant) int { return strings.Compare(a.name(), b.name()) })
	return list
}

// redirect finds where to send the browser. Only the 2017 form may leave it
// out.
func (e *Entra) redirect(a *app, asked string, form consentForm, about TokenRequest) (*url.URL, *refusal) {
	e.mu.Lock()
	registered := a.redirects
	e.mu.Unlock()
	if len(registered) == 0 {
		return nil, refuse(500113, about, "")
	}
	if asked == "" && form == consent2017 {
		asked = registered[0]
	}
	to, err := url.Parse(asked)
	if err != nil || !slices.Contains(registered, asked) {
		return nil, refuse(50011, about, asked)
	}
	return to, nil
}

// name is how people call the tenant: after its first organization.
func (t *tenant) name() string { return t.organizations[0].name }

func (q *consentQuestion) tenant(id string) *tenant {
	for _, t := range q.tenants {
		if t.id == id {
			return t
		}
	}
	return nil
}

// dataverseApp is the id of Dataverse's own app, of which every tenant that has
// an organization has the service principal. It stands for the resource where
// consent is asked of a tenant whose organization is not known.
const dataverseApp = "00000007-0000-0000-c000-000000000000"

// checkResource refuses consent to a resource that the tenant does not have.
func (q *consentQuestion) checkResource(t *tenant) *refusal {
	if q.form != consentV2 {
		return nil
	}
	resource, _ := resourceOf(q.scope)
	if t.organization(resource) == nil && !strings.EqualFold(resource, dataverseApp) {
		return refuse(650052, TokenRequest{Tenant: t.id, Resource: resource, Client: q.app.ClientID}, "")
	}
	return nil
}

// outcome is what the redirect says. On a refusal the v2 form says
// admin_consent=True all the same, and the v1 form forgets the state: both as
// documented.
func (q *consentQuestion) outcome(t *tenant, accepted bool) map[string]string {
	values := map[string]string{}
	switch {
	case accepted:
		values["admin_consent"], values["tenant"] = "True", t.id
		if q.form == consentV2 {
			values["scope"] = q.scope
		}
	case q.form == consentV1:
		return map[string]string{"error": "permission_denied", "error_description": "The admin canceled the request"}
	default:
		values["admin_consent"] = "True"
		values["error"] = "consent_required"
		values["error_description"] = "AADSTS65004: The resource owner or authorization server denied the request."
	}
	if q.state != "" {
		values["state"] = q.state
	}
	return values
}

// postBack answers the 2017 form: the browser posts a code and an id_token to
// the app, from another site.
func (e *Entra) postBack(w http.ResponseWriter, q *consentQuestion, t *tenant, accepted bool) {
	values := map[string]string{"error": "access_denied", "error_description": "AADSTS65004: The resource owner or authorization server denied the request."}
	if accepted {
		now := time.Now()
		token, err := e.keys.sign(map[string]any{
			"aud": q.app.ClientID, "iss": issuer(t.id), "tid": t.id, "nonce": q.nonce, "oid": guid("administrator", t.id),
			"sub": guid("administrator", t.id), "upn": t.administrator(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "ver": "1.0",
		})
		if err != nil {
			writePage(w, http.StatusServiceUnavailable, errorPage, refuse(90033, TokenRequest{}, ""))
			return
		}
		values = map[string]string{"code": guid("code", t.id, now), "id_token": token, "admin_consent": "True", "session_state": guid("session", t.id)}
	}
	if q.state != "" {
		values["state"] = q.state
	}
	writePage(w, http.StatusOK, postBackPage, map[string]any{"To": q.redirect.String(), "Values": values})
}

// administrator is the name with which the tenant's emulated administrator
// signs in.
func (t *tenant) administrator() string {
	return "admin@" + strings.ToLower(t.name()) + ".onmicrosoft.com"
}
