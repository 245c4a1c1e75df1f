// Package consent is the way of a tenant's administrator: from a page of ours
// to Entra ID and back, and on until the organization answers. It trusts what
// comes back in nothing but its own signature: whether access was granted is
// proven by a token.
package consent

import (
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"dynproxy/internal/check"
)

// Backend is what the pages need of the rest.
type Backend interface {
	// ConsentLink is where Entra ID asks the administrator of a tenant, with a
	// state to send back. It reports false if there is no such tenant.
	ConsentLink(ctx context.Context, tenant, state string) (string, bool)
	// Prove asks for a token as if nothing were known: "" means that access is
	// granted. Otherwise it says, in words for the administrator, why not.
	Prove(ctx context.Context, tenant string) (problem string)
	// Report is what a check of the tenant finds, not older than a few seconds.
	Report(ctx context.Context, tenant string) (check.Report, bool)
	// Facts are what the instructions are made of.
	Facts(tenant string) Facts
}

// Facts of a tenant, for instructions that can be pasted.
type Facts struct {
	Organization string // https://host
	ClientID     string
	Call         string // a curl line that will work
}

//go:embed pages
var files embed.FS

// Pages serves /consent/.
type Pages struct {
	*http.ServeMux
	key   Key
	back  Backend
	pages *template.Template
	used  used

	all   *rate.Limiter
	mu    sync.Mutex // guards those
	those map[string]*rate.Limiter
}

// New returns the pages. What they sign is signed with key.
func New(key Key, b Backend) *Pages {
	p := &Pages{
		ServeMux: http.NewServeMux(), key: key, back: b, all: rate.NewLimiter(20, 100), those: make(map[string]*rate.Limiter),
		pages: template.Must(template.ParseFS(files, "pages/*.html")),
	}
	p.Handle("GET /consent/callback", p.limited(p.callback))
	p.Handle("POST /consent/callback", p.limited(p.callback))
	p.Handle("GET /consent/status", p.limited(p.status))
	p.Handle("GET /consent/{tenant}", p.limited(p.leave))
	return p
}

// limited holds off who asks more than anybody needs: each answer may cost a
// token request.
func (p *Pages) limited(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !p.of(host).Allow() || !p.all.Allow() {
			w.Header().Set("Retry-After", "10")
			p.say(w, http.StatusTooManyRequests, words{Title: "Too many requests", Text: "Wait a few seconds, then load this page again."})
			return
		}
		next(w, r)
	})
}

func (p *Pages) of(host string) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.those[host]
	if l == nil {
		if len(p.those) >= 10_000 {
			clear(p.those)
		}
		l = rate.NewLimiter(2, 30)
		p.those[host] = l
	}
	return l
}

// leave sends the administrator to Entra ID.
func (p *Pages) leave(w http.ResponseWriter, r *http.Request) {
	tenant := strings.ToLower(r.PathValue("tenant"))
	link, ok := p.back.ConsentLink(r.Context(), tenant, p.key.State(tenant, clickLife))
	if !ok {
		p.say(w, http.StatusNotFound, words{Title: "This link leads nowhere", Text: "Ask for the right one whoever sent it to you."})
		return
	}
	http.Redirect(w, r, link, http.StatusFound)
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
		p.say(w, http.StatusBadRequest, words{Title: "This answer cannot be read", Text: "Open the link once more."})
		return
	}
	tenant, nonce, ends, ok, late := p.key.read(forConsent, r.Form.Get("state"))
	again := "/consent/" + url.PathEscape(tenant)
	switch {
	case !ok:
		p.say(w, http.StatusBadRequest, words{
			Title: "This answer belongs to no question of ours",
			Text:  "Nothing was done with it. If you have just granted access in Entra ID, that stands: the next call of the app shows it. If not, open the link that you were sent once more.",
		})
		return
	case late:
		p.say(w, http.StatusBadRequest, words{Title: "This answer comes too late", Text: "The link that it belongs to has ended. Open it anew.", Again: again})
		return
	case !p.used.take(nonce, ends):
		p.say(w, http.StatusBadRequest, words{Title: "This answer was given before", Text: "Each link is good for one answer. Nothing was done with this one.", Again: again})
		return
	}
	// Entra ID says admin_consent=True beside an error too.
	if wrong := r.Form.Get("error"); wrong != "" {
		p.say(w, http.StatusOK, words{Title: "Access was not granted", Text: refusals(wrong), Again: again})
		return
	}
	http.Redirect(w, r, "/consent/status?of="+p.key.sign(forStatus, tenant, statusLife), http.StatusSeeOther)
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
	tenant, _, _, ok, late := p.key.read(forStatus, r.URL.Query().Get("of"))
	if !ok || late {
		p.say(w, http.StatusBadRequest, words{Title: "This page has ended", Text: "What was set up stands. The portal and dynproxy check show how far it is."})
		return
	}
	if problem := p.back.Prove(r.Context(), tenant); problem != "" {
		w.Header().Set("Refresh", "5")
		p.say(w, http.StatusOK, words{
			Title: "There is no access yet",
			Text:  "Entra ID gives no token: " + problem + " After consent that can take a minute; this page looks again by itself.",
			Again: "/consent/" + url.PathEscape(tenant),
		})
		return
	}
	report, ok := p.back.Report(r.Context(), tenant)
	if !ok {
		p.say(w, http.StatusBadRequest, words{Title: "This page has ended", Text: "What was set up stands."})
		return
	}
	data := struct {
		Tenant  string
		Facts   Facts
		Done    bool
		Problem check.Link
	}{tenant, p.back.Facts(tenant), report.OK, report.FirstProblem()}
	if !data.Done {
		w.Header().Set("Refresh", "5")
	}
	p.render(w, http.StatusOK, "status.html", data)
}

func (p *Pages) say(w http.ResponseWriter, status int, text words) {
	p.render(w, status, "words.html", text)
}

func (p *Pages) render(w http.ResponseWriter, status int, page string, data any) {
	var text strings.Builder
	if err := p.pages.ExecuteTemplate(&text, page, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text.String()))
}
