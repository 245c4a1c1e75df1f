package tokens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"dynproxy/internal/entra"
	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

// refusal turns an error of Entra ID into what the caller is told. The rest,
// such as the caller's own leaving, passes.
func (s *Source) refusal(ctx context.Context, t *tenants.Tenant, err error) error {
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return err
	}
	r := &problem.Error{Err: e, RetryAfter: e.RetryAfter}
	known := meaningOf(e)
	switch e.Class {
	case entra.Consent:
		r.Code = problem.ConsentRequired
		r.Message = fmt.Sprintf("The administrator of %s has not granted this app access. Open %s and accept, then try again.", t.Name, s.linkFor(ctx, t))
	case entra.Credential:
		r.Code = problem.CredentialRejected
		r.Message = fmt.Sprintf("The app's own credential is not accepted: %s%s. %s", known.finding, numberOf(e), known.next)
	case entra.Configuration:
		r.Code = problem.TenantMisconfigured
		r.Message = fmt.Sprintf("Entra ID gives no token for %s: %s%s. %s Next: dynproxy check %s", t.Name, known.finding, numberOf(e), known.next, t.Name)
	default:
		r.Code = problem.TokenUnavailable
		r.Message = fmt.Sprintf("Entra ID gives no token for %s at the moment (%s); try again in %d seconds.", t.Name, reasonOf(e), int(math.Ceil(e.RetryAfter.Seconds())))
	}
	return r
}

func (s *Source) linkFor(ctx context.Context, t *tenants.Tenant) string {
	authority, err := s.Authority(ctx, t)
	if err != nil {
		return "what 'dynproxy consent-url " + t.Name + "' prints"
	}
	return s.consentLink(t, authority)
}

// organizationRefusal is for an organization that could not be asked for its
// tenant.
func organizationRefusal(t *tenants.Tenant, err error) error {
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return err
	}
	r := &problem.Error{Err: e, RetryAfter: e.RetryAfter}
	if e.Class == entra.Transient {
		r.Code = problem.UpstreamUnreachable
		r.Message = fmt.Sprintf("The organization %s gave no answer from which to learn its tenant: %s. Next: dynproxy check %s", t.OrgHost(), reasonOf(e), t.Name)
		return r
	}
	r.Code = problem.TenantMisconfigured
	r.Message = fmt.Sprintf("The address %s of %s is not usable: %s. Next: dynproxy check %s", t.OrgHost(), t.Name, e.Reason, t.Name)
	return r
}

// Advice is what an operator is told of err, who has asked 'dynproxy check'
// already: the code that callers get, what was found, and what to do next.
func Advice(err error) (code problem.Code, finding, next string) {
	told, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return problem.UpstreamUnreachable, err.Error(), ""
	}
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return told.Code, told.Message, ""
	}
	known := meaningOf(e)
	switch told.Code {
	case problem.ConsentRequired:
		return told.Code, "the tenant has not granted the app access", told.Message
	case problem.TokenUnavailable:
		return told.Code, reasonOf(e), cmp.Or(e.Cure, told.Message)
	case problem.UpstreamUnreachable:
		return told.Code, reasonOf(e), "Look at the checks before this one."
	}
	return told.Code, known.finding + numberOf(e), known.next
}

// reasonOf says what kept Entra ID or an organization from answering.
func reasonOf(e *entra.Error) string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func numberOf(e *entra.Error) string {
	if len(e.Codes) == 0 {
		return ""
	}
	return fmt.Sprintf(" (AADSTS%d)", e.Codes[0])
}

// meaning is what a refusal of Entra ID says in plain words, and the cure.
type meaning struct{ finding, next string }

// meaningOf goes by the numbers of Entra ID, which choose a text and nothing
// else.
func meaningOf(e *entra.Error) meaning {
	for _, code := range e.Codes {
		if m, ok := meanings[code]; ok {
			return m
		}
	}
	switch {
	case e.Status == 0: // of our own making: a file, an address
		return meaning{e.Reason, e.Cure}
	case e.Class == entra.Credential:
		return meaning{"Entra ID refuses it", "Compare what is set with the app registration: its secrets, certificates and federated credentials."}
	}
	return meaning{"tenant id, login host and organization do not fit together", "Check ORG_URL, TENANT_ID and LOGIN_HOST of the tenant; without the latter two the organization tells them."}
}

var (
	blocked  = meaning{"a conditional access policy blocks the app", "Let an administrator of the tenant exclude the app from that conditional access policy (Entra admin center, Protection, Conditional Access)."}
	disabled = meaning{"the app is disabled in the tenant", "Let an administrator of the tenant enable it: Entra admin center, Enterprise applications, this app, Properties; it is disabled there now."}
	cloud    = meaning{"the app registration belongs to another cloud", "Give the tenant CLIENT_ID and a credential of an app registration in its own cloud."}
	notSetUp = meaning{"the federated credential is not set up for this app", "Add a federated credential to the app registration that has this token's issuer and subject."}
)

var meanings = map[int]meaning{
	7000215: {"the secret is wrong; often the secret's id was pasted instead of its value", "Set the value of a secret of the app registration."},
	7000222: {"the secret has expired", "Make a new one in the app registration and set it."},
	700027:  {"the certificate is not the one registered with the app", "Upload this certificate to the app registration, or set the registered one."},
	700024:  {"the assertion is out of its time; does this machine's clock run right?", "Set this machine's clock."},
	700236:  notSetUp,
	70021:   notSetUp,
	700211:  notSetUp,
	700212:  notSetUp,
	700213:  notSetUp,
	7000218: {"no secret was sent", "Set a secret or certificate of the app registration."},
	1002016: {"the connection came to Entra ID in an old version of TLS", "Look for a proxy between that inspects TLS: it must speak TLS 1.2."},
	90002:   {"there is no such tenant in this cloud", "Check TENANT_ID and LOGIN_HOST of the tenant; without them the organization tells both."},
	500011:  {"the organization is not known in this tenant; is ORG_URL right?", "Check ORG_URL and TENANT_ID: the organization must belong to that tenant."},
	500014:  {"Dataverse is disabled in the tenant", "Let an administrator of the tenant enable Dataverse in the Entra admin center, Enterprise applications."},
	650052:  {"the tenant has no Dataverse", "Let an administrator look whether the tenant has a licence for Dataverse."},
	90038:   cloud,
	900382:  cloud,
	900432:  cloud,
	9001023: {"the tenant id must be that of one tenant", "Set TENANT_ID to the tenant's own id, or take it out."},
	7000112: disabled,
	70001:   disabled,
	1000031: disabled,
	53003:   blocked,
	530032:  blocked,
}
