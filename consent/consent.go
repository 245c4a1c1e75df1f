// Package consent is the way of a tenant's administrator: from a page of ours
// to Entra ID and back, and on until the organization answers. It trusts what
// comes back in nothing but its own signature: whether access was granted is
// proven by a token.
package consent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"dynproxy/internal/check"
	"dynproxy/internal/page"
)

// Backend is what the pages need of the rest.
type Backend interface {
	// ConsentLink is where Entra ID asks the administrator of a tenant, with a
	// state to send back. It reports false if there is no such tenant.
	ConsentLink(ctx context.Context, tenant, state string) (string, bool)
	// NewcomerLink is where Entra ID asks the administrator of any tenant.
	NewcomerLink(ctx context.Context, state string) string
	// Prove asks for a token as if nothing were known: "" means that access is
	// granted. Otherwise it says, in words for the administrator, why not.
	Prove(ctx context.Context, tenant string) (problem string)
	// Granted says that the tenant's administrator has granted access just now, and
	// that a token has proven it.
	Granted(tenant string)
	// Report is what a check of the tenant finds, not older than a few seconds.
	Report(ctx context.Context, tenant string) (check.Report, bool)
	// Facts are what the instructions are made of.
	Facts(tenant string) Facts
	// Welcome notes that somebody at the address from says to be an administrator
	// of the tenant of that id, and to have granted access. It may be a lie.
	Welcome(tenantID, from string)
}

// Options are what the pages are made of.
type Options struct {
	// Keys sign links and states: the first new ones, and any is accepted.
	Keys    func() []Key
	Backend Backend
	// Once, if set, reports whether other proxies have not used up a state of
	// that digest yet, and uses it up for life. An error means that nobody knows.
	Once func(ctx context.Context, digest string, life time.Duration) (bool, error)
	// Strangers says whether the page of a tenant is open to who has no signed
	// link. Where it is not, it does not even tell which tenants there are.
	Strangers func() bool
	// Told, if set, is told how each answer of Entra ID came out.
	Told func(Outcome)
	// Base is the address of the pages under which Entra ID sends people back.
	Base func() string
}

// Facts of a tenant, for instructions that can be pasted.
type Facts struct {
	Organization string // https://host
	ClientID     string
	Call         string // a curl line that will work
}

// Outcome is how an answer of Entra ID came out.
type Outcome string

// The outcomes.
const (
	granted  Outcome = "granted"  // and proven by a token
	unproven Outcome = "unproven" // granted, so it says, and there is no token yet
	declined Outcome = "declined"
	newcomer Outcome = "newcomer" // of a tenant that is not known yet
	repeated Outcome = "repeated" // the answer was given before
	late     Outcome = "late"
	foreign  Outcome = "foreign" // it belongs to no question of ours, or to another browser
)

// Outcomes are all of them.
func Outcomes() []Outcome {
	return []Outcome{granted, unproven, declined, newcomer, repeated, late, foreign}
}

//go:embed pages
var files embed.FS

// Pages serves /consent and what lies below.
type Pages struct {
	*http.ServeMux
	Options
	pages  *template.Template
	used   used
	proofs sync.Map // *proof, by tenant

	mu        sync.Mutex // guards strangers
	strangers map[string]*rate.Limiter
}

// New returns the pages.
func New(o Options) *Pages {
	p := &Pages{
		ServeMux: http.NewServeMux(), Options: o, strangers: make(map[string]*rate.Limiter),
		pages: template.Must(template.ParseFS(files, "pages/*.html")),
	}
	p.HandleFunc("GET /consent", p.begin)
	p.HandleFunc("GET /consent/callback", p.callback)
	p.HandleFunc("POST /consent/callback", p.callback)
	p.HandleFunc("GET /consent/status", p.status)
	p.HandleFunc("GET /consent/{tenant}", p.leave)
	return p
}

// nothing answers what shows no signature of ours. That is all that is
// counted, address by address: a flood of it keeps nobody out who has been
// sent a link or has begun here. What has a signature costs little, or is
// asked once for all (see proof).
func (p *Pages) nothing(w http.ResponseWriter, r *http.Request, status int, text words) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !p.stranger(host).Allow() {
		w.Header().Set("Retry-After", "10")
		status, text = http.StatusTooManyRequests, words{Title: "Too many requests", Text: "Wait a few seconds, then open the link that you were sent once more."}
	}
	p.say(w, status, text)
}

func (p *Pages) stranger(host string) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.strangers[host]
	if l == nil {
		if len(p.strangers) >= 10_000 {
			clear(p.strangers)
		}
		l = rate.NewLimiter(2, 30)
		p.strangers[host] = l
	}
	return l
}

// begin sends the administrator of whichever tenant to Entra ID.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) {
	state := p.key().sign(signed{purpose: forNewcomer, nonce: rand.Text(), browser: p.browser(w, r)}, clickLife)
	http.Redirect(w, r, p.Backend.NewcomerLink(r.Context(), state), http.StatusFound)
}

// leave sends the administrator of a tenant to Entra ID.
func (p *Pages) leave(w http.ResponseWriter, r *http.Request) {
	tenant := strings.ToLower(r.PathValue("tenant"))
	nowhere := words{Title: "This link leads nowhere", Text: "Ask for the right one whoever sent it to you."}
	if !p.Strangers() {
		s, ok := p.read(r.URL.Query().Get("key"), forLink)
		if !ok || s.tenant != tenant {
			p.nothing(w, r, http.StatusNotFound, nowhere)
			return
		}
		if s.late(time.Now()) {
			p.say(w, http.StatusNotFound, words{Title: "This link has ended", Text: "Ask for a new one whoever sent it to you."})
			return
		}
	}
	state := p.key().sign(signed{purpose: forConsent, tenant: tenant, nonce: rand.Text(), browser: p.browser(w, r)}, clickLife)
	link, ok := p.Backend.ConsentLink(r.Context(), tenant, state)
	if !ok {
		p.nothing(w, r, http.StatusNotFound, nowhere)
		return
	}
	http.Redirect(w, r, link, http.StatusFound)
}

const cookieName = "dynproxy_consent"

// browser gives the browser a cookie, or finds the one that it has, and
// returns its digest: what begins here is answered from the same browser. A
// browser that came under another name than that of Base would not send the
// cookie back; there the signature alone has to do.
func (p *Pages) browser(w http.ResponseWriter, r *http.Request) string {
	base, err := url.Parse(p.Base())
	if err != nil || !strings.EqualFold(base.Host, r.Host) {
		return ""
	}
	if c, err := r.Cookie(cookieName); err == nil && len(c.Value) >= 26 {
		return digest(c.Value)
	}
	value := rand.Text()
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/consent", MaxAge: int(statusLife / time.Second),
		HttpOnly: true, Secure: base.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
	return digest(value)
}

// sameBrowser reports whether what s was signed for began in r's browser.
func sameBrowser(s signed, r *http.Request) bool {
	if s.browser == "" {
		return true
	}
	c, err := r.Cookie(cookieName)
	return err == nil && subtle.ConstantTimeCompare([]byte(digest(c.Value)), []byte(s.browser)) == 1
}

func digest(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// words are what a plain page says.
type words struct {
	Title, Text string
	Again       string // link to try once more
}

// callback takes Entra ID's answer, in either form.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		p.nothing(w, r, status, words{Title: "This answer cannot be read", Text: "Open the link once more."})
		return
	}
	s, ok := p.read(r.Form.Get("state"), forConsent, forNewcomer)
	switch {
	case !ok:
		p.told(foreign)
		p.nothing(w, r, http.StatusBadRequest, words{
			Title: "This answer belongs to no question of ours",
			Text:  "It was not looked at. If you have just granted access in Entra ID, that stands: the next call of the app shows it. If not, open the link that you were sent once more.",
		})
		return
	case !sameBrowser(s, r):
		p.told(foreign)
		p.nothing(w, r, http.StatusBadRequest, words{
			Title: "This answer belongs to another browser",
			Text:  "It was not looked at. Open the link that you were sent in this browser, and allow it to keep a cookie of this page.",
		})
		return
	case s.late(time.Now()):
		p.told(late)
		p.say(w, http.StatusBadRequest, words{Title: "This answer comes too late", Text: "The link that it belongs to has ended. Open it anew.", Again: p.again(s)})
		return
	}
	// Entra ID says admin_consent=True beside an error too. Who has declined may
	// think again, with the same link.
	if wrong := r.Form.Get("error"); wrong != "" {
		p.declined(w, r, s, wrong)
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
		p.say(w, http.StatusOK, words{
			Title: "Thank you",
			Text:  "If you have granted access in Entra ID, it stands. The operators of the app see your tenant's id and take it from here. You can close this page.",
		})
		return
	}
	// What was granted counts from now, also for who closes the page.
	p.claim(s.tenant)
	if p.prove(r.Context(), s.tenant) == "" {
		p.told(granted)
	} else {
		p.told(unproven)
	}
	http.Redirect(w, r, "/consent/status?of="+p.key().sign(signed{purpose: forStatus, tenant: s.tenant, nonce: rand.Text()}, statusLife), http.StatusSeeOther)
}

func (p *Pages) told(o Outcome) {
	if p.Told != nil {
		p.Told(o)
	}
}

// declined tells of an answer that grants nothing.
func (p *Pages) declined(w http.ResponseWriter, r *http.Request, s signed, wrong string) {
	p.told(declined)
	if s.purpose == forConsent && p.prove(r.Context(), s.tenant) == "" {
		p.say(w, http.StatusOK, words{Title: "Access stands", Text: "It was granted before, and what was answered now does not take it back."})
		return
	}
	p.say(w, http.StatusOK, words{Title: "Access was not granted", Text: refusals(wrong), Again: p.again(s)})
}

// repeated tells of an answer that has been given already.
func (p *Pages) repeated(w http.ResponseWriter, r *http.Request, s signed) {
	p.told(repeated)
	text := "Each link is good for one answer, and this one has had it."
	if s.purpose == forConsent && p.prove(r.Context(), s.tenant) == "" {
		text += " Access stands: the app gets its tokens."
	} else if s.purpose == forConsent {
		text += " The app gets no token yet."
	}
	p.say(w, http.StatusBadRequest, words{Title: "This answer was given before", Text: text, Again: p.again(s)})
}

// again is a link to begin once more.
func (p *Pages) again(s signed) string {
	if s.purpose == forNewcomer {
		return "/consent"
	}
	return "/consent/" + url.PathEscape(s.tenant) + "?key=" + url.QueryEscape(p.key().Link(s.tenant, clickLife))
}

// refusals puts Entra ID's errors into words of ours. Its own description is
// not shown: anybody can send one.
func refusals(code string) string {
	switch code {
	case "access_denied", "consent_required", "permission_denied":
		return "Somebody said no, or closed the page. Nothing was changed. Until access is granted, the app's calls are refused."
	case "invalid_client", "unauthorized_client":
		return "Entra ID does not know this app in your cloud. The app's owner must look at the app registration: it has to allow accounts of other organizations."
	}
	return "Entra ID answered with an error. Sign in as a Global Administrator or Privileged Role Administrator of the tenant and try again."
}

// status proves what was granted, says what is next, and watches until the
// organization answers.
func (p *Pages) status(w http.ResponseWriter, r *http.Request) {
	s, ok := p.read(r.URL.Query().Get("of"), forStatus)
	if !ok || s.late(time.Now()) {
		p.nothing(w, r, http.StatusBadRequest, words{Title: "This page has ended", Text: "What was set up stands. The portal and dynproxy check show how far it is."})
		return
	}
	tenant := s.tenant
	if problem := p.prove(r.Context(), tenant); problem != "" {
		w.Header().Set("Refresh", "5")
		p.say(w, http.StatusOK, words{
			Title: "There is no access yet",
			Text:  "Entra ID gives no token: " + problem + " After consent that can take a minute; this page looks again by itself.",
			Again: p.again(s),
		})
		return
	}
	report, ok := p.Backend.Report(r.Context(), tenant)
	if !ok {
		p.say(w, http.StatusBadRequest, words{Title: "This page has ended", Text: "What was set up stands."})
		return
	}
	data := struct {
		Tenant  string
		Facts   Facts
		Done    bool
		Problem check.Link
	}{tenant, p.Backend.Facts(tenant), report.OK, report.FirstProblem()}
	if !data.Done {
		w.Header().Set("Refresh", "5")
	}
	page.Write(w, http.StatusOK, p.pages, "status.html", data)
}

func (p *Pages) say(w http.ResponseWriter, status int, text words) {
	page.Write(w, status, p.pages, "words.html", text)
}
