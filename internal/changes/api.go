package changes

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/cluster"
	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// API serves changes over HTTP, and the record of all of them. It stands behind
// the operators' password, and behind what refuses queries that are not as the
// API's description has them.
type API struct {
	Editor  *Editor
	Guarded func() bool             // whether there is a password: without one nothing may be changed
	Who     func(*http.Request) Who // who asks
	// Recent is the record of changes, the newest first, by all proxies.
	Recent func(limit int) ([]audit.Entry, error)
}

// Routes are the API's patterns, as http.ServeMux takes them, and who answers.
func (a *API) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"PUT /api/tenants/{name}":         a.changing(a.putTenant),
		"PATCH /api/tenants/{name}":       a.changing(a.patchTenant),
		"DELETE /api/tenants/{name}":      a.changing(a.deleteTenant),
		"GET /api/callers":                answering(a.listCallers),
		"GET /api/callers/{name}":         answering(a.oneCaller),
		"PUT /api/callers/{name}":         a.changing(a.putCaller),
		"PATCH /api/callers/{name}":       a.changing(a.patchCaller),
		"DELETE /api/callers/{name}":      a.changing(a.deleteCaller),
		"POST /api/callers/{name}/rotate": a.changing(a.rotateCaller),
		"GET /api/audit":                  answering(a.audit),
	}
}

// reply is what a request is answered with.
type reply struct {
	status int
	body   any // nil for none
}

func answering(f func(*http.Request) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		said, err := f(r)
		if err != nil {
			said = refusal(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if said.body == nil {
			w.Header().Del("Content-Type")
		}
		w.WriteHeader(said.status)
		if said.body == nil {
			return
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		e.Encode(said.body)
	}
}

var errUnguarded = errors.New("changes over HTTP need the operators' password; set DYNPROXY_OPS_PASSWORD or DYNPROXY_OPS_PASSWORD_FILE")

func (a *API) changing(f func(*http.Request) (reply, error)) http.HandlerFunc {
	return answering(func(r *http.Request) (reply, error) {
		if !a.Guarded() {
			return reply{}, errUnguarded
		}
		return f(r)
	})
}

// tenantView is a tenant's file.
type tenantView struct {
	Name         string            `json:"name"`
	Organization string            `json:"organization"`
	Settings     map[string]string `json:"settings"` // of its file, secrets redacted
}

func (a *API) putTenant(r *http.Request) (reply, error) {
	return a.tenant(r, tenants.Edit{Whole: true, New: true, Replace: isSet(r, "replace")})
}

func (a *API) patchTenant(r *http.Request) (reply, error) {
	return a.tenant(r, tenants.Edit{Replace: isSet(r, "replace")})
}

// isSet reports whether the parameter called name is given as true.
func isSet(r *http.Request, name string) bool {
	set, _ := strconv.ParseBool(r.URL.Query().Get(name)) // what is no such word does not come here
	return set
}

func (a *API) tenant(r *http.Request, edit tenants.Edit) (_ reply, err error) {
	if edit.Set, err = readSettings(r); err != nil {
		return reply{}, err
	}
	w, err := a.Editor.Tenant(a.Who(r), r.PathValue("name"), edit)
	if err != nil {
		return reply{}, err
	}
	return reply{status(w.Added), tenantView{w.Tenant.Name, w.Tenant.Org, w.After}}, nil
}

func status(added bool) int {
	if added {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (a *API) deleteTenant(r *http.Request) (reply, error) {
	return reply{http.StatusNoContent, nil}, a.Editor.RemoveTenant(a.Who(r), r.PathValue("name"))
}

// callerView is a caller's file, and when it came last.
type callerView struct {
	Name     string            `json:"name"`
	Settings map[string]string `json:"settings,omitempty"` // of its file, hashes of keys redacted
	Keys     int               `json:"keys"`
	Seen     time.Time         `json:"last_seen,omitzero"`
	Fault    string            `json:"fault,omitempty"`
	Key      string            `json:"key,omitempty"` // a new one, which is shown only now
}

func viewOf(e callers.Entry) callerView {
	v := callerView{Name: e.Name}
	if c := e.Caller; c != nil {
		v.Settings, v.Keys, v.Seen = c.Given(), c.Keys(), c.Seen()
	}
	if e.Fault != nil {
		v.Fault = e.Fault.Error()
	}
	return v
}

func (a *API) listCallers(*http.Request) (reply, error) {
	book, err := a.Editor.Callers()
	if err != nil {
		return reply{}, err
	}
	views := []callerView{}
	for _, e := range book.Entries() {
		views = append(views, viewOf(e))
	}
	return reply{http.StatusOK, map[string]any{"callers": views}}, nil
}

func (a *API) oneCaller(r *http.Request) (reply, error) {
	book, err := a.Editor.Callers()
	if err != nil {
		return reply{}, err
	}
	name := book.Canonical(r.PathValue("name"))
	if e := (callers.Entry{Name: name, Caller: book.Lookup(name), Fault: book.Faults()[name]}); e.Caller != nil || e.Fault != nil {
		return reply{http.StatusOK, viewOf(e)}, nil
	}
	return reply{}, &callers.UnknownError{Name: name}
}

func (a *API) putCaller(r *http.Request) (reply, error) {
	return a.caller(r, callers.Edit{Whole: true, New: true, NoKey: r.URL.Query().Get("key") != "" && !isSet(r, "key")})
}

func (a *API) patchCaller(r *http.Request) (reply, error) { return a.caller(r, callers.Edit{}) }

func (a *API) caller(r *http.Request, edit callers.Edit) (_ reply, err error) {
	if edit.Set, err = readSettings(r); err != nil {
		return reply{}, err
	}
	w, err := a.Editor.Caller(a.Who(r), r.PathValue("name"), edit)
	if err != nil {
		return reply{}, err
	}
	return reply{status(w.Added), callerView{Name: w.Caller.Name, Settings: w.After, Keys: w.Caller.Keys(), Key: w.Key}}, nil
}

func (a *API) rotateCaller(r *http.Request) (reply, error) {
	w, err := a.Editor.Rotate(a.Who(r), r.PathValue("name"))
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, callerView{Name: w.Caller.Name, Settings: w.After, Keys: w.Caller.Keys(), Key: w.Key}}, nil
}

func (a *API) deleteCaller(r *http.Request) (reply, error) {
	return reply{http.StatusNoContent, nil}, a.Editor.RemoveCaller(a.Who(r), r.PathValue("name"))
}

func (a *API) audit(r *http.Request) (reply, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 100 // none is given: what is no number does not come here
	}
	entries, err := a.Recent(limit)
	said := struct {
		Entries []audit.Entry `json:"entries"` // the newest first
		Kept    string        `json:"kept"`
		Fault   string        `json:"fault,omitempty"`
	}{append([]audit.Entry{}, entries...), a.Editor.Audit.Kept(), ""}
	if err != nil {
		said.Fault = err.Error()
	}
	return reply{http.StatusOK, said}, nil
}

// refusal is how err is answered.
func refusal(err error) reply {
	type setting struct {
		Setting string `json:"setting"`
		Fault   string `json:"fault"`
	}
	var said struct {
		Error struct {
			Code    string    `json:"code"`
			Message string    `json:"message"`
			Faults  []setting `json:"faults,omitempty"`
		} `json:"error"`
	}
	code := http.StatusInternalServerError
	said.Error.Code, said.Error.Message = "internal", err.Error()
	say := func(status int, word string) { code, said.Error.Code = status, word }
	faults, wrong := errors.AsType[envfile.Faults](err)
	switch {
	case errors.Is(err, errUnguarded):
		say(http.StatusForbidden, "forbidden")
	case wrong:
		say(http.StatusUnprocessableEntity, "bad_settings")
		for _, f := range faults {
			said.Error.Faults = append(said.Error.Faults, setting{f.Variable, f.Cure})
		}
	case is[*NoDirectoryError](err), is[*ListedError](err), is[*tenants.TakenError](err), is[*callers.TakenError](err):
		say(http.StatusConflict, "conflict")
	case is[*tenants.UnknownError](err), is[*callers.UnknownError](err):
		say(http.StatusNotFound, "not_found")
	case errors.Is(err, cluster.ErrChanged):
		say(http.StatusConflict, "conflict")
	case is[*AwayError](err):
		say(http.StatusServiceUnavailable, "unavailable")
	case is[*NameError](err):
		say(http.StatusBadRequest, "bad_request")
	}
	if wrong, is := errors.AsType[*bodyError](err); is {
		say(wrong.status, "bad_request")
	}
	return reply{code, said}
}

func is[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}
