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
	"encoding/base64"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
	"dynproxy/internal/source"
)

// Backend is what the pages need of the rest.
type Backend interface {
	// ConsentLink is where Entra ID asks the administrator of a tenant, with a
	// state to send back. It reports false if there is no such tenant.
	ConsentLink(ctx context.Context, tenant, state string) (string, bool)
	// NewcomerLink is where Entra ID asks the administrator of any tenant.
	NewcomerLink(ctx context.Context, state string) string
	// Prove asks for a token as if nothing were known: "" means that access is
	// granted. Otherwise it is the code that a call would get.
	Prove(ctx context.Context, tenant string) problem.Code
	// Granted says that the tenant's administrator has granted access just now, and
	// that a token has proven it.
	Granted(tenant string)
	// Report is what a check of the tenant finds, not older than a few seconds.
	Report(ctx context.Context, tenant string) (check.Report, bool)
	// Facts are what the instructions are made of. It reports false if there is no
	// such tenant.
	Facts(ctx context.Context, tenant string) (Facts, bool)
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
	// Publisher, if set, is who asks for access.
	Publisher func() Publisher
}

// Facts of a tenant, for instructions that can be pasted. What is not known is
// empty.
type Facts struct {
	Organization string // https://host
	ClientID     string
	TenantID     string // of the directory whose administrator is asked
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

// Pages serves /consent and what lies below.
type Pages struct {
	*http.ServeMux
	Options
	pages  *template.Template
	speech *speech
	used   used
	proofs sync.Map // *proof, by tenant

	mu        sync.Mutex // guards strangers
	strangers map[netip.Prefix]*rate.Limiter
}

// New returns the pages.
func New(o Options) *Pages {
	p := &Pages{
		ServeMux: http.NewServeMux(), Options: o, strangers: make(map[netip.Prefix]*rate.Limiter),
		pages: template.Must(template.New("").Funcs(template.FuncMap{"short": short}).ParseFS(files, "pages/*.html")), speech: newSpeech(),
	}
	p.HandleFunc("GET /consent", p.begin)
	p.HandleFunc("GET /consent/callback", p.callback)
	p.HandleFunc("POST /consent/callback", p.callback)
	p.HandleFunc("GET /consent/status", p.status)
	p.HandleFunc("GET /consent/{tenant}", p.leave)
	p.HandleFunc("GET /consent/{tenant}/about", p.about)
	p.HandleFunc("GET /consent/files/logo", p.logo)
	for _, name := range []string{"consent.css", "consent.js"} {
		p.HandleFunc("GET /consent/files/"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			http.ServeFileFS(w, r, files, "pages/"+name)
		})
	}
	return p
}

// nothing answers what shows no signature of ours. That is all that is
// counted, source by source: a flood of it keeps nobody out who has been
// sent a link or has begun here. What has a signature costs little, or is
// asked once for all (see proof).
func (p *Pages) nothing(w http.ResponseWriter, r *http.Request, status int, text words) {
	if !p.stranger(source.OfRemote(r.RemoteAddr)).Allow() {
		w.Header().Set("Retry-After", "10")
		status, text = http.StatusTooManyRequests, words{Title: "many.title", Text: "many.text"}
	}
	p.say(w, r, status, text)
}

func (p *Pages) stranger(from netip.Prefix) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.strangers[from]
	if l == nil {
		if len(p.strangers) >= 10_000 {
			clear(p.strangers)
		}
		l = rate.NewLimiter(2, 30)
		p.strangers[from] = l
	}
	return l
}

// begin sends the administrator of whichever tenant to Entra ID, or says first,
// if it is asked by the parameter about, what that means.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("about") {
		p.explain(w, r, "/consent", Facts{}, url.Values{"about": {""}})
		return
	}
	p.keepLanguage(w, r)
	state := p.key().sign(signed{purpose: forNewcomer, nonce: rand.Text(), browser: p.browser(w, r)}, clickLife)
	http.Redirect(w, r, p.Backend.NewcomerLink(r.Context(), state), http.StatusFound)
}

// guest returns the tenant that a request is about, if whoever sends it may
// know of it. Else it answers.
func (p *Pages) guest(w http.ResponseWriter, r *http.Request) (tenant string, ok bool) {
	tenant = strings.ToLower(r.PathValue("tenant"))
	if p.Strangers() {
		return tenant, true
	}
	s, ok := p.read(r.URL.Query().Get("key"), forLink)
	if !ok || s.tenant != tenant {
		p.nothing(w, r, http.StatusNotFound, nowhere)
		return "", false
	}
	if s.late(time.Now()) {
		p.say(w, r, http.StatusNotFound, words{Title: "linkended.title", Text: "linkended.text"})
		return "", false
	}
	return tenant, true
}

var nowhere = words{Title: "nowhere.title", Text: "nowhere.text"}

// leave sends the administrator of a tenant to Entra ID.
func (p *Pages) leave(w http.ResponseWriter, r *http.Request) {
	tenant, ok := p.guest(w, r)
	if !ok {
		return
	}
	state := p.key().sign(signed{purpose: forConsent, tenant: tenant, nonce: rand.Text(), browser: p.browser(w, r)}, clickLife)
	link, ok := p.Backend.ConsentLink(r.Context(), tenant, state)
	if !ok {
		p.nothing(w, r, http.StatusNotFound, nowhere)
		return
	}
	p.keepLanguage(w, r)
	http.Redirect(w, r, link, http.StatusFound)
}

// about says to the administrator of a tenant what is asked, before Entra ID
// does.
func (p *Pages) about(w http.ResponseWriter, r *http.Request) {
	tenant, ok := p.guest(w, r)
	if !ok {
		return
	}
	facts, ok := p.Backend.Facts(r.Context(), tenant)
	if !ok {
		p.nothing(w, r, http.StatusNotFound, nowhere)
		return
	}
	on, kept := "/consent/"+url.PathEscape(tenant), url.Values{}
	if key := r.URL.Query().Get("key"); !p.Strangers() { // it was looked at
		on += "?key=" + url.QueryEscape(key)
		kept.Set("key", key)
	}
	p.explain(w, r, on, facts, kept)
}

// explain shows what is asked of whom; on is the address of what asks,
// and kept what of the page's own query has been looked at.
func (p *Pages) explain(w http.ResponseWriter, r *http.Request, on string, facts Facts, kept url.Values) {
	p.keepLanguage(w, r)
	v := p.view(r, "about.title.unnamed")
	if v.Publisher.Name != "" {
		v.Title = v.T("about.title", v.Publisher.Name)
	}
	v.offer(kept)
	v.Facts, v.Again = facts, on
	p.write(w, http.StatusOK, "about.html", v)
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
