package portal

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/changes"
	"dynproxy/internal/envfile"
	"dynproxy/internal/page"
	"dynproxy/tenants"
)

// Operations are what an operator does on pages: the same as by commands and
// over HTTP, with the same checks and the same record.
type Operations struct {
	Editor  *changes.Editor
	Guarded func() bool                     // whether there is a password: without one nothing may be done
	Who     func(*http.Request) changes.Who // who asks

	CheckAll func()        // checks all tenants, in the background
	Drain    func(on bool) // takes this proxy out of service, or back
	Draining func() bool
}

func (p *Portal) operations() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /change/{kind}":                   p.changeForm,
		"POST /change/{kind}":                  p.guarded(p.change),
		"GET /confirm/{action}/{kind}/{name}":  p.confirm,
		"POST /confirm/{action}/{kind}/{name}": p.guarded(p.carryOut),
		"GET /confirm/{action}/{kind}":         p.confirm,
		"POST /confirm/{action}/{kind}":        p.guarded(p.carryOut),
		"POST /tenants/{name}/check":           p.check,
	}
}

// guarded keeps f from whoever needs no password.
func (p *Portal) guarded(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.do.Guarded() {
			page.Write(w, http.StatusForbidden, p.pages, "unguarded.html", nil)
			return
		}
		f(w, r)
	}
}

// field is one setting in a form.
type field struct {
	Name, Value, Default string
	Was                  string // what it stands at as the page is shown
	Secret               bool   // its value is not shown; left empty it stays
	Set                  bool   // whether a secret has a value
	Fault                string // of what was typed
}

// form is what a page of changes shows.
type form struct {
	Kind, Name string
	Existing   bool
	Faulty     string // why the file that is there cannot be read; what is saved replaces it
	Fields     []field
	Faults     []string
	Guarded    bool
}

func (p *Portal) changeForm(w http.ResponseWriter, r *http.Request) {
	f, ok := p.form(r.PathValue("kind"), r.URL.Query().Get("name"))
	if !ok {
		p.notFound(w, r)
		return
	}
	page.Write(w, http.StatusOK, p.pages, "change.html", f)
}

// form is the form of a tenant or caller, "" for a new one. It reports false
// where there is none of that name, which is in any case of letters.
func (p *Portal) form(kind, name string) (f form, ok bool) {
	name = strings.ToLower(name)
	f = form{Kind: kind, Name: name, Existing: name != "", Guarded: p.do.Guarded()}
	var given map[string]string
	switch kind {
	case changes.Tenant:
		given, f.Faulty, ok = p.givenTenant(name)
		f.Fields = fields(tenants.SettingNames(), given, tenants.Redacted)
		slices.SortStableFunc(f.Fields, func(a, b field) int { return cmp.Compare(tenantRank(a.Name), tenantRank(b.Name)) })
		for _, s := range p.do.Editor.Rules().Settings(&tenants.Tenant{}, "") {
			if i := slices.IndexFunc(f.Fields, func(f field) bool { return f.Name == s.Name && !f.Secret }); i >= 0 {
				f.Fields[i].Default = s.Value
			}
		}
	case changes.Caller:
		given, f.Faulty, ok = p.givenCaller(name)
		names := slices.DeleteFunc(callers.SettingNames(), func(name string) bool { return strings.HasPrefix(name, "KEY_") })
		f.Fields = fields(names, given, nil)
	}
	return f, ok
}

// tenantRank puts what is asked of everybody before what few have to set.
func tenantRank(setting string) int {
	switch {
	case setting == "ORG_URL":
		return 0
	case strings.HasPrefix(setting, "CLIENT_"), setting == "FEDERATED_TOKEN_FILE", setting == "MANAGED_IDENTITY":
		return 2
	}
	return 1
}

func (p *Portal) givenTenant(name string) (given map[string]string, fault string, ok bool) {
	if name == "" {
		return nil, "", true
	}
	book, err := p.do.Editor.Tenants()
	if err != nil {
		return nil, "", false
	}
	if t := book.Lookup(name); t != nil {
		return t.Given(), "", true
	}
	if err := book.Faults()[name]; err != nil {
		return nil, err.Error(), true
	}
	return nil, "", false
}

func (p *Portal) givenCaller(name string) (given map[string]string, fault string, ok bool) {
	if name == "" {
		return nil, "", true
	}
	book, err := p.do.Editor.Callers()
	if err != nil {
		return nil, "", false
	}
	for _, e := range book.Entries() {
		switch {
		case e.Name != name:
		case e.Caller == nil:
			return nil, e.Fault.Error(), true
		default:
			return e.Caller.Given(), "", true
		}
	}
	return nil, "", false
}

// fields are the settings called names with the values that are given. redact,
// unless nil, hides what is secret.
func fields(names []string, given map[string]string, redact func(map[string]string) map[string]string) []field {
	var all []field
	for _, name := range names {
		f := field{Name: name, Value: given[name], Was: given[name]}
		if redact != nil && redact(map[string]string{name: "x"})[name] != "x" {
			f.Secret, f.Set, f.Value, f.Was = true, given[name] != "", "", ""
		}
		all = append(all, f)
	}
	return all
}

// change saves a form.
func (p *Portal) change(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil { // what could be read of it may lack the line that restricts
		refuse(w, http.StatusBadRequest, "bad_request", "the form did not arrive whole, or holds what no browser sends; nothing was changed")
		return
	}
	kind, name := r.PathValue("kind"), strings.ToLower(strings.TrimSpace(r.PostFormValue("name")))
	existing := r.PostFormValue("existing") != ""
	shown := ""
	if existing {
		shown = name
	}
	f, ok := p.form(kind, shown)
	if !ok {
		p.notFound(w, r)
		return
	}
	set, overtaken := f.read(r)
	if overtaken {
		f.Faults = []string{"Somebody else has changed the same setting. Look at it below; what you save now replaces it."}
		page.Write(w, http.StatusConflict, p.pages, "change.html", f)
		return
	}
	key, err := p.save(r, f, name, set)
	if err != nil {
		f.Name = name
		f.tell(err)
		page.Write(w, http.StatusUnprocessableEntity, p.pages, "change.html", f)
		return
	}
	if key != "" {
		page.Write(w, http.StatusOK, p.pages, "key.html", keyView{Name: name, Key: key, New: true})
		return
	}
	http.Redirect(w, r, pageOf(kind, name), http.StatusSeeOther)
}

// pageOf is where a tenant or caller is shown.
func pageOf(kind, name string) string {
	if kind == changes.Tenant {
		return "/tenants/" + url.PathEscape(name)
	}
	return "/callers#" + url.PathEscape(name)
}

// read takes what the form says into f, and returns what it changes. What was
// left as the page showed it is no wish: it stays as somebody else may have set
// it since. A setting that both have changed is told as a fault, and the page
// that then comes shows what stands there now.
func (f *form) read(r *http.Request) (set map[string]string, overtaken bool) {
	set = make(map[string]string)
	for i := range f.Fields {
		one := &f.Fields[i]
		value, was := strings.TrimSpace(r.PostFormValue(one.Name)), one.Was
		switch {
		case one.Secret && r.PostFormValue("remove_"+one.Name) != "":
			set[one.Name] = ""
			continue
		case !r.PostForm.Has(one.Name), one.Secret && value == "":
			continue // a page of another version, which did not show it; a secret that stays
		case r.PostForm.Has("was_" + one.Name):
			was = strings.TrimSpace(r.PostFormValue("was_" + one.Name))
		}
		if value == one.Was || value == was && f.Faulty == "" {
			continue
		}
		set[one.Name] = value
		if one.Secret {
			continue
		}
		if was != one.Was {
			one.Fault, overtaken = "was changed by somebody else since this page was opened; it is "+cmp.Or(one.Was, "not set")+" now", true
		}
		one.Value = value
	}
	return set, overtaken
}

// save carries a form out, and returns the key of a new caller.
func (p *Portal) save(r *http.Request, f form, name string, set map[string]string) (key string, err error) {
	who := p.do.Who(r)
	if f.Kind == changes.Tenant {
		if !f.Existing {
			if _, fault, there := p.givenTenant(name); name != "" && there && fault == "" {
				return "", errors.New("a tenant called " + name + " is there already; open its page to change it")
			}
		}
		_, err = p.do.Editor.Tenant(who, name, tenants.Edit{Set: set, New: !f.Existing, Replace: f.Existing, Whole: f.Faulty != ""})
		return "", err
	}
	written, err := p.do.Editor.Caller(who, name, callers.Edit{
		Set: set, New: !f.Existing, Fresh: !f.Existing, Whole: f.Faulty != "",
		NoKey: r.PostFormValue("nokey") != "",
	})
	if err != nil {
		return "", err
	}
	return written.Key, nil
}

// tell takes into f why it was not saved, beside the fields too.
func (f *form) tell(err error) {
	f.Faults = told(err)
	faults, _ := errors.AsType[envfile.Faults](err)
	for _, fault := range faults {
		about, _, _ := strings.Cut(fault.Variable, " ") // the first, where several are at odds
		if i := slices.IndexFunc(f.Fields, func(one field) bool { return one.Name == about }); i >= 0 {
			f.Fields[i].Fault = strings.TrimPrefix(fault.Variable+" "+fault.Cure, about+" ")
		}
	}
}

// told says why something was not done, a line a fault.
func told(err error) []string {
	faults, are := errors.AsType[envfile.Faults](err)
	if !are {
		return []string{err.Error()}
	}
	var all []string
	for _, f := range faults {
		all = append(all, f.Variable+" "+f.Cure)
	}
	return all
}

// keyView is a new key, which is shown only now.
type keyView struct {
	Name, Key string
	New       bool // whether the caller is new too
}

// note records something that is done without a file.
func (p *Portal) note(r *http.Request, kind, name, action string) {
	who := p.do.Who(r)
	err := p.do.Editor.Audit.Record(audit.Entry{By: who.By, Via: who.Via, From: who.From, Kind: kind, Name: name, Action: action})
	if err != nil {
		p.do.Editor.Unrecorded(err)
	}
}
