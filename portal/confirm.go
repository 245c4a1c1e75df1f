package portal

import (
	"net/http"
	"net/url"
	"strings"

	"dynproxy/internal/changes"
	"dynproxy/internal/page"
)

// question is what an operator is asked before something is done that cannot
// be undone by a click.
type question struct {
	Title, Text string // what is asked, and what follows
	Button      string
	Back        string // where a no leads to
	Fault       string // why it could not be done
	Guarded     bool
}

// the questions, by action and kind; %s is the name.
var questions = map[[2]string]question{
	{"remove", changes.Tenant}: {Title: "Remove the tenant %s?", Button: "Remove it",
		Text: "Its file goes, its token is thrown away, and calls to it are refused from now on. The access that its administrator has granted stays, until they withdraw it."},
	{"remove", changes.Caller}: {Title: "Remove the caller %s?", Button: "Remove it",
		Text: "Its file goes with its key, and its calls are refused from now on."},
	{"rotate", changes.Caller}: {Title: "Make a new key for %s?", Button: "Make a new key",
		Text: "The new key is shown once. The present one stays valid beside it, until you withdraw it here: change the application over in between."},
	{"withdraw", changes.Caller}: {Title: "Withdraw the former key of %s?", Button: "Withdraw it",
		Text: "Only the newest key is valid from then on. An application that still sends the former one is refused."},
	{"check", "all"}: {Title: "Check all tenants now?", Button: "Check all",
		Text: "Each organization is asked whether it answers, eight at a time. That costs each tenant's budget one or two requests."},
	{"drain", "proxy"}: {Title: "Take this proxy out of service?", Button: "Drain it",
		Text: "/readyz says 503 from now on, so that a load balancer sends new calls elsewhere. Calls that come all the same are served. It lasts until you take it back, or until the process ends."},
	{"serve", "proxy"}: {Title: "Take this proxy back into service?", Button: "Take it back",
		Text: "/readyz says 200 again, if nothing else is wrong."},
}

func (p *Portal) question(r *http.Request) (q question, ok bool) {
	kind, name := r.PathValue("kind"), strings.ToLower(r.PathValue("name"))
	q, ok = questions[[2]string{r.PathValue("action"), kind}]
	if !ok || (name == "") == (kind == changes.Tenant || kind == changes.Caller) {
		return question{}, false
	}
	if name != "" {
		if _, there := p.form(kind, name); !there {
			return question{}, false
		}
	}
	q.Title, q.Guarded = strings.Replace(q.Title, "%s", name, 1), p.do.Guarded()
	switch q.Back = "/"; kind {
	case changes.Tenant, changes.Caller:
		q.Back = pageOf(kind, name)
	case "proxy":
		q.Back = "/proxies"
	}
	return q, true
}

func (p *Portal) confirm(w http.ResponseWriter, r *http.Request) {
	q, ok := p.question(r)
	if !ok {
		p.notFound(w, r)
		return
	}
	page.Write(w, http.StatusOK, p.pages, "confirm.html", q)
}

func (p *Portal) carryOut(w http.ResponseWriter, r *http.Request) {
	q, ok := p.question(r)
	if !ok {
		p.notFound(w, r)
		return
	}
	name := strings.ToLower(r.PathValue("name"))
	key, err := p.carry(r, name)
	switch {
	case err != nil:
		q.Fault = err.Error()
		page.Write(w, http.StatusConflict, p.pages, "confirm.html", q)
	case key != "":
		page.Write(w, http.StatusOK, p.pages, "key.html", keyView{Name: name, Key: key})
	case r.PathValue("action") == "remove" && r.PathValue("kind") == changes.Tenant:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		http.Redirect(w, r, q.Back, http.StatusSeeOther)
	}
}

// carry does what was asked, and returns the key that was made, if one was.
func (p *Portal) carry(r *http.Request, name string) (key string, err error) {
	who := p.do.Who(r)
	switch action, kind := r.PathValue("action"), r.PathValue("kind"); {
	case action == "remove" && kind == changes.Tenant:
		return "", p.do.Editor.RemoveTenant(who, name)
	case action == "remove":
		return "", p.do.Editor.RemoveCaller(who, name)
	case action == "rotate", action == "withdraw":
		if twoKeys := p.twoKeys(name); twoKeys != (action == "withdraw") {
			return "", errStale(twoKeys)
		}
		written, err := p.do.Editor.Rotate(who, name)
		if err != nil {
			return "", err
		}
		return written.Key, nil
	case action == "check":
		p.do.CheckAll()
		p.note(r, "proxy", "", "all tenants checked")
	default:
		p.do.Drain(action == "drain")
		p.note(r, "proxy", "", map[bool]string{true: "drained", false: "taken back into service"}[action == "drain"])
	}
	return "", nil
}

// twoKeys reports whether a caller has a new key beside its former one.
func (p *Portal) twoKeys(name string) bool {
	given, _, _ := p.givenCaller(name)
	return given["KEY_SHA256_NEXT"] != ""
}

// errStale is for a step of a key's change that was taken before: by somebody
// else, or by a page that was sent twice.
type errStale bool

func (e errStale) Error() string {
	if e {
		return "a new key was made already, and the former one is still valid; withdraw that first"
	}
	return "there is no former key: it was withdrawn already"
}

// check checks a tenant now.
func (p *Portal) check(w http.ResponseWriter, r *http.Request) {
	t, known := p.source.Tenant(r.PathValue("name"))
	if !known || !p.source.CheckAnew(r.Context(), t.Name) {
		page.Write(w, http.StatusNotFound, p.pages, "missing.html", r.PathValue("name"))
		return
	}
	p.note(r, changes.Tenant, t.Name, "checked")
	http.Redirect(w, r, "/tenants/"+url.PathEscape(t.Name), http.StatusSeeOther)
}
