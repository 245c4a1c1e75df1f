package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/problem"
)

const expiresSoon = 30 * 24 * time.Hour

// authority notes which tenant and login host the organization belongs to.
func (r *run) authority(ctx context.Context, reached bool) {
	var err error
	if r.login, r.tenantID, err = r.checker.Authority(ctx, r.t); err != nil {
		code, finding, next := r.checker.Advice(err)
		if reached {
			r.callersGet(string(code))
			r.note(TenantID, Broken, "not known: "+finding, next)
		}
		return
	}
	if !reached || r.t.TenantID == "" {
		r.note(TenantID, OK, r.tenantID, "")
		return
	}
	_, named, err := r.checker.Named(ctx, r.t)
	switch {
	case err != nil:
		r.note(TenantID, OK, r.tenantID+", as the settings say", "")
	case named != r.tenantID:
		r.note(TenantID, Warning, fmt.Sprintf("the settings say %s, the organization says %s", r.tenantID, named), "Take TENANT_ID out of the tenant's settings: the organization tells it.")
	default:
		r.note(TenantID, OK, r.tenantID+", as the organization says too", "")
	}
}

// loginHost notes whether the login host can be reached.
func (r *run) loginHost(ctx context.Context) {
	if r.login == "" {
		return
	}
	r.began = time.Now()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.login+"/"+r.tenantID+"/v2.0/.well-known/openid-configuration", nil)
	if err != nil {
		r.note(Login, Broken, "its address cannot be used", "Correct LOGIN_HOST.")
		return
	}
	within, cancel := r.checker.within(ctx)
	defer cancel()
	resp, err := r.checker.Login.RoundTrip(ask.WithContext(within))
	if err != nil {
		finding, next := insecure(err)
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); !untrusted {
			finding, next = "it cannot be reached: "+egress.Explain(err), "Let this machine connect to "+withPort(r.login)+", or set HTTPS_PROXY."
		}
		r.note(Login, Broken, r.login+": "+finding, next)
		return
	}
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		r.note(Login, Broken, fmt.Sprintf("%s answers with status %d", r.login, resp.StatusCode), "Wait, and try again; look at the state of Entra ID in the admin center.")
		return
	}
	r.note(Login, OK, r.login, "")
}

// credential notes the credential by what is known of it beforehand; mint takes it
// back if Entra ID thinks otherwise.
func (r *run) credential() {
	kind, ends := r.checker.Credential(r.t)
	left := time.Until(ends).Round(time.Hour)
	switch {
	case ends.IsZero():
		r.note(Credential, OK, kind, "")
	case left <= 0:
		r.note(Credential, Warning, fmt.Sprintf("%s ended on %s", kind, ends.Format(time.DateOnly)), "Make a new one in the app registration and set it.")
	case left < expiresSoon:
		r.note(Credential, Warning, fmt.Sprintf("%s ends on %s", kind, ends.Format(time.DateOnly)), "Make a new one in the app registration and set it beside the old one: CLIENT_SECRET_NEXT.")
	default:
		r.note(Credential, OK, fmt.Sprintf("%s, until %s", kind, ends.Format(time.DateOnly)), "")
	}
}

// mint notes what Entra ID says to the credential and to the app.
func (r *run) mint(ctx context.Context) (header string) {
	if r.login == "" {
		return ""
	}
	r.began = time.Now()
	header, err := r.checker.Token(ctx, r.t)
	if err == nil {
		r.noteTook(Consent, OK, "granted", "", 0)
		r.note(Token, OK, "minted", "")
		return header
	}
	code, finding, next := r.checker.Advice(err)
	r.report.Error = string(code) // a call takes its token before it leaves, whatever else is broken
	switch code {
	case problem.ConsentRequired:
		r.note(Consent, Broken, finding, next)
	case problem.CredentialRejected:
		for i, l := range r.report.Links {
			if l.Name == Credential {
				r.report.Links = append(r.report.Links[:i:i], r.report.Links[i+1:]...)
				r.note(Credential, Broken, l.Finding+" is not accepted: "+finding, next)
				break
			}
		}
	default:
		r.note(Token, Broken, "none: "+finding, next)
	}
	return ""
}
