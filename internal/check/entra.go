package check

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const expiresSoon = 30 * 24 * time.Hour

// authority notes which tenant and login host the organization belongs to.
func (w *walk) authority(ctx context.Context, reached bool) {
	var err error
	if w.login, w.tenantID, err = w.d.Authority(ctx, w.t); err != nil {
		code, message := w.d.Advice(err)
		if reached {
			w.callers(code)
			w.note(TenantID, Broken, "not known", message)
		}
		return
	}
	if !reached || w.t.TenantID == "" {
		w.note(TenantID, OK, w.tenantID, "")
		return
	}
	_, named, err := w.d.Named(ctx, w.t)
	switch {
	case err != nil:
		w.note(TenantID, OK, w.tenantID+", as the settings say", "")
	case named != w.tenantID:
		w.note(TenantID, Warning, fmt.Sprintf("the settings say %s, the organization says %s", w.tenantID, named), "Take TENANT_ID out of the tenant's settings: the organization tells it.")
	default:
		w.note(TenantID, OK, w.tenantID+", as the organization says too", "")
	}
}

// loginHost notes whether the login host can be reached.
func (w *walk) loginHost(ctx context.Context) {
	if w.login == "" {
		return
	}
	w.began = time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.login+"/"+w.tenantID+"/v2.0/.well-known/openid-configuration", nil)
	if err != nil {
		w.note(Login, Broken, "its address cannot be used", "Mend LOGIN_HOST.")
		return
	}
	resp, err := w.d.Login.RoundTrip(r)
	if err != nil {
		finding, next := insecure(err)
		if s := cause(err); finding == "the TLS handshake failed: "+s {
			finding, next = "it cannot be reached: "+s, "Let this machine connect to "+w.login+" on port 443, or set HTTPS_PROXY."
		}
		w.note(Login, Broken, w.login+": "+finding, next)
		return
	}
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		w.note(Login, Broken, fmt.Sprintf("%s answers with status %d", w.login, resp.StatusCode), "Wait, and try again; look at the state of Entra ID in the admin center.")
		return
	}
	w.note(Login, OK, w.login, "")
}

// proof notes the credential by what is known of it beforehand; mint takes it
// back if Entra ID thinks otherwise.
func (w *walk) proof() {
	kind, ends := w.d.Proof(w.t)
	left := time.Until(ends).Round(time.Hour)
	switch {
	case ends.IsZero():
		w.note(Credential, OK, kind, "")
	case left <= 0:
		w.note(Credential, Warning, fmt.Sprintf("%s ended on %s", kind, ends.Format(time.DateOnly)), "Make a new one in the app registration and set it.")
	case left < expiresSoon:
		w.note(Credential, Warning, fmt.Sprintf("%s ends on %s", kind, ends.Format(time.DateOnly)), "Make a new one in the app registration and set it beside the old one: CLIENT_SECRET_NEXT.")
	default:
		w.note(Credential, OK, fmt.Sprintf("%s, until %s", kind, ends.Format(time.DateOnly)), "")
	}
}

// mint notes what Entra ID says to the credential and to the app.
func (w *walk) mint(ctx context.Context) (header string) {
	if w.login == "" {
		return ""
	}
	w.began = time.Now()
	header, err := w.d.Token(ctx, w.t)
	if err == nil {
		w.noteTook(Consent, OK, "granted", "", 0)
		w.note(Token, OK, "minted", "")
		return header
	}
	code, message := w.d.Advice(err)
	w.callers(code)
	switch code {
	case "consent_required":
		w.note(Consent, Broken, "the tenant has not granted the app access", message)
	case "credential_rejected":
		for i, l := range w.report.Links {
			if l.Name == Credential {
				w.report.Links = append(w.report.Links[:i:i], w.report.Links[i+1:]...)
				w.note(Credential, Broken, l.Finding+": not accepted", message)
				break
			}
		}
	default:
		w.note(Token, Broken, "none", message)
	}
	return ""
}
