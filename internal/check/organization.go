package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
)

// said is what an organization answered.
type said struct {
	status  int
	header  http.Header
	code    string // error.code
	message string // error.message
	userID  string // of WhoAmI
	rows    []struct {
		Name string `json:"name"`
	}
}

func (r *run) ask(ctx context.Context, header, path string) (said, error) {
	ctx, cancel := r.checker.within(ctx)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, r.t.Org+"/api/data/v9.2/"+path, nil)
	if err != nil {
		return said{}, err
	}
	ask.Header.Set("Authorization", header)
	resp, err := r.checker.Organization.RoundTrip(ask)
	if err != nil {
		return said{}, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var text struct {
		UserID string `json:"UserId"`
		Value  []struct {
			Name string `json:"name"`
		} `json:"value"`
	}
	json.Unmarshal(body, &text) // what is cut off is no JSON
	why := refusal.Read(resp.Header.Get("Content-Type"), bytes.NewReader(body))
	return said{resp.StatusCode, resp.Header, why.Code, why.Message, text.UserID, text.Value}, nil
}

// answer asks the organization who the application user is.
func (r *run) answer(ctx context.Context, header string) {
	r.began = time.Now()
	a, err := r.ask(ctx, header, "WhoAmI")
	if err == nil && a.refusesToken() && r.checker.Invalidate(r.t, header, a.header["Www-Authenticate"]) {
		// As a call does: the token may have been kept for long, and revoked since.
		if renewed, failed := r.checker.Token(ctx, r.t); failed == nil {
			header = renewed
			a, err = r.ask(ctx, header, "WhoAmI")
		}
	}
	if err != nil {
		code := problem.UpstreamUnreachable
		if late(err) {
			code = problem.UpstreamTimeout
		}
		r.callersGet(string(code))
		r.note(Answer, Broken, "none: "+egress.Explain(err), "Try again; if it stays, look whether something between closes connections to "+r.t.OrgHost()+".")
		return
	}
	if link, finding, next := r.refused(a); link != "" {
		r.upTo(link)
		r.note(link, Broken, finding, next)
		return
	}
	r.upTo(ApplicationUser)
	r.note(ApplicationUser, OK, a.userID, "")
	r.role(ctx, header, a.userID)
	r.headroom(a)
}

// upTo notes that the links before link hold.
func (r *run) upTo(link string) {
	for _, l := range []struct{ name, finding string }{
		{Answer, "the organization answers"}, {Firewall, "lets this address in"}, {AppAccess, "lets this app in"},
	} {
		if l.name == link {
			return
		}
		r.note(l.name, OK, l.finding, "")
	}
}

// refused says which link an answer breaks, "" if none.
func (r *run) refused(a said) (link, finding, next string) {
	finding = fmt.Sprintf("status %d %s", a.status, a.code)
	if a.code != "" {
		r.callersGet(a.code)
	}
	said := refusal.Refusal{Status: a.status, Code: a.code, Message: a.message}
	next = said.Next(r.t.Org, r.checker.ClientID(r.t))
	switch said.Hint() {
	case refusal.ApplicationUserMissing:
		return ApplicationUser, "the organization has none for this app", next
	case refusal.UserDisabled:
		return ApplicationUser, "it is disabled", next
	case refusal.IPFirewall:
		return Firewall, "blocks this address", next
	case refusal.AppAccessDenied:
		return AppAccess, "blocks this app", next
	case refusal.PrivilegeMissing:
		r.noteTook(ApplicationUser, OK, "exists", "", 0)
		return Role, "no security role allows even this", next
	case refusal.Throttled:
		r.noteTook(Headroom, Broken, "used up: "+finding+wait(a.header), next, 0)
		return Answer, "the organization is throttling", next
	}
	switch {
	case a.status == http.StatusOK && a.userID != "":
		r.report.Error = ""
		return "", "", ""
	case a.isPage():
		r.report.Error = string(problem.NotAnAnswer)
		return Answer, "a web page came in place of the organization's answer", "Look for something between this machine and the organization: a proxy that inspects, or a portal that wants to be clicked; and check ORG_URL."
	case a.refusesToken():
		r.report.Error = string(problem.TokenRefused)
		return Answer, fmt.Sprintf("status %d: the organization refuses a fresh token", a.status), "Check that ORG_URL and TENANT_ID belong together."
	}
	r.callersGet(fmt.Sprintf("status %d", a.status))
	return Answer, finding + ": the organization does not answer as it should", "Try again, and look at its status in the Power Platform admin center."
}

// wait says for how long the organization asks to be left alone.
func wait(header http.Header) string {
	if seconds := header.Get("Retry-After"); seconds != "" {
		return ", Retry-After says " + seconds
	}
	return ""
}

// refusesToken reports whether another token may help.
func (a said) refusesToken() bool {
	return a.status == http.StatusUnauthorized || a.status >= 300 && a.status < 400 || a.isPage()
}

// isPage reports whether a page stands where the answer should.
func (a said) isPage() bool {
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	return a.status >= 200 && a.status < 300 && strings.EqualFold(strings.TrimSpace(kind), "text/html")
}

// role notes whether the application user may do something useful. It may be
// meant to do little, so that only one that can do nothing is broken.
func (r *run) role(ctx context.Context, header, userID string) {
	a, err := r.ask(ctx, header, "accounts?$select=accountid&$top=1")
	if err != nil || a.status != http.StatusForbidden {
		r.note(Role, OK, "lets it read", "")
		return
	}
	roles, err := r.ask(ctx, header, "systemusers("+userID+")/systemuserroles_association?$select=name")
	var names []string
	for _, row := range roles.rows {
		names = append(names, row.Name)
	}
	if err == nil && roles.status == http.StatusOK && len(names) > 0 {
		r.note(Role, Warning, strings.Join(names, ", ")+": may not read accounts", "If the callers need more, give the application user a role that allows it.")
		return
	}
	r.callersGet(a.code)
	r.note(Role, Broken, "it has no security role, or one that allows nothing", "Give the application user a security role: Power Platform admin center, Application users, Edit security roles.")
}

// headroom notes what is left of the budget.
func (r *run) headroom(a said) {
	left, err := strconv.Atoi(a.header.Get("x-ms-ratelimit-burst-remaining-xrm-requests"))
	switch {
	case err != nil:
		r.note(Headroom, OK, "the organization does not tell", "")
	case r.t.Requests > 0 && left < r.t.Requests/10:
		r.note(Headroom, Warning, fmt.Sprintf("%d requests are left in this window", left), "Calls will have to wait. See who spends the budget, and whether others use the same application user.")
	default:
		r.note(Headroom, OK, fmt.Sprintf("%d requests are left in this window", left), "")
	}
}
