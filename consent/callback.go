package consent

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// callback takes Entra ID's answer, in either form.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		p.nothing(w, r, status, words{Title: "unreadable.title", Text: "unreadable.text"})
		return
	}
	s, ok := p.read(r.Form.Get("state"), forConsent, forNewcomer)
	switch {
	case !ok:
		p.told(foreign)
		p.nothing(w, r, http.StatusBadRequest, words{Title: "foreign.title", Text: "foreign.text"})
		return
	case !sameBrowser(s, r):
		p.told(foreign)
		p.nothing(w, r, http.StatusBadRequest, words{Title: "browser.title", Text: "browser.text"})
		return
	case s.late(time.Now()):
		p.told(late)
		p.say(w, r, http.StatusBadRequest, words{Title: "late.title", Text: "late.text", Again: p.again(s)})
		return
	}
	// Entra ID says admin_consent=True beside an error too. Who has declined may
	// think again, with the same link.
	if r.Form.Get("error") != "" {
		p.declined(w, r, s)
		return
	}
	if !p.take(r.Context(), s) {
		p.repeated(w, r, s)
		return
	}
	if s.purpose == forNewcomer {
		p.told(newcomer)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		p.Backend.Welcome(r.Form.Get("tenant"), host)
		p.say(w, r, http.StatusOK, words{Title: "newcomer.title", Text: "newcomer.text"})
		return
	}
	p.taken(w, r, s)
}

// taken proves what the administrator of a tenant says to have granted: it
// counts from now, also for who closes the page.
func (p *Pages) taken(w http.ResponseWriter, r *http.Request, s signed) {
	watch := signed{purpose: forStatus, tenant: s.tenant, nonce: rand.Text()}
	p.claim(s.tenant)
	if p.prove(r.Context(), s.tenant) == "" {
		p.told(granted)
	} else {
		p.told(unproven)
		// What Entra ID names may be a lie: it chooses nothing but words.
		facts, _ := p.Backend.Facts(r.Context(), s.tenant)
		if named := r.Form.Get("tenant"); named != "" && facts.TenantID != "" && !strings.EqualFold(named, facts.TenantID) {
			watch.purpose = forElsewhere
		}
	}
	http.Redirect(w, r, "/consent/status?of="+p.key().sign(watch, statusLife), http.StatusSeeOther)
}

func (p *Pages) told(o Outcome) {
	if p.Told != nil {
		p.Told(o)
	}
}

// declined tells of an answer that grants nothing.
func (p *Pages) declined(w http.ResponseWriter, r *http.Request, s signed) {
	p.told(declined)
	if s.purpose == forConsent && p.prove(r.Context(), s.tenant) == "" {
		p.say(w, r, http.StatusOK, words{Title: "stands.title", Text: "stands.text"})
		return
	}
	text, number := refusal(r.Form.Get("error"), r.Form.Get("error_description"))
	p.say(w, r, http.StatusOK, words{Title: "declined.title", Text: text, Number: number, Again: p.again(s)})
}

// repeated tells of an answer that has been given already.
func (p *Pages) repeated(w http.ResponseWriter, r *http.Request, s signed) {
	p.told(repeated)
	text := "repeated.newcomer"
	if s.purpose == forConsent {
		text = "repeated.open"
		if p.prove(r.Context(), s.tenant) == "" {
			text = "repeated.granted"
		}
	}
	p.say(w, r, http.StatusBadRequest, words{Title: "repeated.title", Text: text, Again: p.again(s)})
}

// again is a link to begin once more.
func (p *Pages) again(s signed) string {
	if s.purpose == forNewcomer {
		return "/consent"
	}
	return "/consent/" + url.PathEscape(s.tenant) + "?key=" + url.QueryEscape(p.key().Link(s.tenant, clickLife))
}

// numbered finds the number of Entra ID in its description of an error.
var numbered = regexp.MustCompile(`\bAADSTS(\d{5,7})\b`)

// numbers say what to do about an error of Entra ID that has one.
var numbers = map[string]string{
	"65004": "declined.said",
	"65001": "declined.administrator", "90093": "declined.administrator", "90094": "declined.administrator", "90095": "declined.administrator", "90097": "declined.administrator", "900941": "declined.administrator",
	"50020": "declined.organization", "50034": "declined.organization", "51004": "declined.organization", "90072": "declined.organization", "50128": "declined.organization",
	"650052": "declined.dataverse", "500011": "declined.dataverse",
	"50053": "declined.policy", "50055": "declined.policy", "50057": "declined.policy", "50074": "declined.policy", "50076": "declined.policy", "50079": "declined.policy", "50105": "declined.policy",
	"53000": "declined.policy", "53001": "declined.policy", "53002": "declined.policy", "53003": "declined.policy", "53004": "declined.policy",
	"50011": "declined.provider", "500113": "declined.provider", "50194": "declined.provider", "650056": "declined.provider", "650057": "declined.provider", "700016": "declined.provider", "7000112": "declined.provider",
}

// refusal is the text for an error of Entra ID, and its number. Of its own
// description nothing else is shown: anybody can send one.
func refusal(code, description string) (text, number string) {
	if found := numbered.FindStringSubmatch(description); found != nil {
		number = found[1]
		if text := numbers[number]; text != "" {
			return text, number
		}
	}
	switch code {
	case "access_denied", "consent_required", "permission_denied":
		return "declined.said", number
	case "invalid_client", "unauthorized_client":
		return "declined.provider", number
	}
	return "declined.error", number
}
