package emulator

import (
	"net/http"
	"strings"
)

// userState is an app and its application user in an organization.
type userState struct {
	App      string `json:"app"`
	Client   string `json:"client_id"`
	Exists   bool   `json:"exists"`
	Disabled bool   `json:"disabled"`
	NoRole   bool   `json:"no_role"`
}

// State says it in words.
func (u userState) State() string {
	switch {
	case !u.Exists:
		return "no application user"
	case u.Disabled:
		return "disabled"
	case u.NoRole:
		return "without a role"
	}
	return "ready"
}

// users tells of every registered app whether it has an application user.
func (o *Organization) users() []userState {
	list := []userState{}
	for _, a := range o.emulator.entra.registrations() {
		_, disabled, ok := o.data.ApplicationUser(a.ClientID)
		key := strings.ToLower(a.ClientID)
		o.mu.Lock()
		list = append(list, userState{a.Name, a.ClientID, ok, disabled || o.disabled[key], o.noRole[key]})
		o.mu.Unlock()
	}
	return list
}

func showOrganization(w http.ResponseWriter, r *http.Request, o *Organization) {
	if wantsPage(r) {
		writePage(w, http.StatusOK, organizationPage, map[string]any{
			"Name": o.name, "URL": o.URL(), "TenantID": o.tenantID, "Users": o.users(),
		})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": o.name, "url": o.URL(), "tenant_id": o.tenantID, "application_users": o.users(), "limits": o.throttle.current(),
	})
}

// changeOrganization is the form on the organization's page.
func changeOrganization(w http.ResponseWriter, r *http.Request, o *Organization) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	client := strings.TrimSpace(r.PostFormValue("client_id"))
	if client == "" {
		fail(w, http.StatusBadRequest, "client_id is missing")
		return
	}
	switch r.PostFormValue("action") {
	case "create":
		o.AddApplicationUser(client)
	case "remove":
		o.RemoveApplicationUser(client)
	case "disable":
		o.SetApplicationUser(client, true, false)
	case "enable":
		o.SetApplicationUser(client, false, false)
	default:
		fail(w, http.StatusBadRequest, "action is create, remove, disable or enable")
		return
	}
	http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
}

// putUser creates an application user if there is none, and sets its state.
func putUser(w http.ResponseWriter, r *http.Request, o *Organization) {
	var v struct {
		Disabled bool `json:"disabled"`
		NoRole   bool `json:"no_role"`
	}
	if r.ContentLength != 0 && !readJSON(w, r, &v) {
		return
	}
	client := r.PathValue("client")
	if _, _, ok := o.data.ApplicationUser(client); !ok {
		o.data.AddApplicationUser(client)
	}
	o.SetApplicationUser(client, v.Disabled, v.NoRole)
	w.WriteHeader(http.StatusNoContent)
}

func setLimits(w http.ResponseWriter, r *http.Request, o *Organization) {
	var l Limits
	if !readJSON(w, r, &l) {
		return
	}
	o.SetLimits(l)
	w.WriteHeader(http.StatusNoContent)
}

// showRequests lists what the organization received. Tokens are left out.
func showRequests(w http.ResponseWriter, _ *http.Request, o *Organization) {
	list := o.Requests()
	for i := range list {
		if list[i].Header.Get("Authorization") != "" {
			list[i].Header = list[i].Header.Clone()
			list[i].Header.Set("Authorization", "[left out]")
		}
	}
	writeJSON(w, http.StatusOK, list)
}

// wantsPage reports whether a browser is asking.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
