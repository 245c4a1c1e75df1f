package consent

import (
	"net/http"
	"net/url"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
)

// stage is how far a tenant is, as its administrator sees it.
type stage string

const (
	stageWait     stage = "wait" // for access
	stageUser     stage = "user"
	stageRole     stage = "role"
	stageFirewall stage = "firewall"
	stageBlocked  stage = "blocked"
	stageProvider stage = "provider" // nothing that the administrator could do
	stageDone     stage = "done"
)

// status proves what was granted, says what is next, and watches until the
// organization answers.
func (p *Pages) status(w http.ResponseWriter, r *http.Request) {
	s, ok := p.read(r.URL.Query().Get("of"), forStatus, forElsewhere)
	if !ok || s.late(time.Now()) {
		p.nothing(w, r, http.StatusBadRequest, words{Title: "ended.title", Text: "ended.text"})
		return
	}
	facts, ok := p.Backend.Facts(r.Context(), s.tenant)
	if !ok {
		p.say(w, r, http.StatusBadRequest, words{Title: "ended.title", Text: "ended.text"})
		return
	}
	p.keepLanguage(w, r)
	code := p.prove(r.Context(), s.tenant)
	at := stageWait
	if code == "" {
		report, ok := p.Backend.Report(r.Context(), s.tenant)
		if !ok {
			p.say(w, r, http.StatusBadRequest, words{Title: "ended.title", Text: "ended.text"})
			return
		}
		at = stageOf(report)
	}
	v := p.view(r, string(at)+".title")
	v.offer(url.Values{"of": {r.URL.Query().Get("of")}})
	v.Facts, v.Stage, v.Watch = facts, at, at != stageDone
	switch {
	case at != stageWait:
		v.Text = v.T(string(at)+".text", v.Host())
	case s.purpose == forElsewhere:
		v.Text, v.Again = v.T("wait.other", v.Host()), p.again(s)
	case code == problem.ConsentRequired:
		v.Text, v.Again = v.T("wait.consent"), p.again(s)
	default:
		v.Text, v.Again = v.T("wait.provider", string(code)), p.again(s)
	}
	if v.Watch { // the page asks for itself
		w.Header().Set("Content-Security-Policy", watching)
	}
	p.write(w, http.StatusOK, "status.html", v)
}

// watching is the policy of a page that asks for itself: that of all pages of
// operators, and no more than that.
const watching = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func stageOf(report check.Report) stage {
	if report.OK {
		return stageDone
	}
	switch report.FirstProblem().Name {
	case check.ApplicationUser:
		return stageUser
	case check.Role:
		return stageRole
	case check.Firewall:
		return stageFirewall
	case check.AppAccess:
		return stageBlocked
	}
	return stageProvider
}
