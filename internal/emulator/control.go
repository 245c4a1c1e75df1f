package emulator

import (
	"fmt"
	"net/http"
	"sort"
	"time"
)

// newControls builds the control API that the package comment describes. A
// page of another origin cannot use it through a visitor's browser.
func (e *Emulator) newControls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_emulator/{$}", e.showState)
	mux.HandleFunc("GET /_emulator/ca.pem", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(e.CA())
	})
	mux.HandleFunc("GET /_emulator/token-requests", e.showTokenRequests)
	mux.HandleFunc("POST /_emulator/tokens", e.setTokens)
	mux.HandleFunc("PUT /_emulator/consent/{tenant}/{client}", func(w http.ResponseWriter, r *http.Request) {
		done(w, e.entra.Consent(r.PathValue("tenant"), r.PathValue("client")), "tenant")
	})
	mux.HandleFunc("DELETE /_emulator/consent/{tenant}/{client}", func(w http.ResponseWriter, r *http.Request) {
		done(w, e.entra.RevokeConsent(r.PathValue("tenant"), r.PathValue("client")), "tenant")
	})
	mux.HandleFunc("POST /_emulator/apps", e.addApp)
	mux.HandleFunc("POST /_emulator/apps/{client}/redirect-uris", e.addRedirectURI)
	mux.HandleFunc("POST /_emulator/apps/{client}/secrets", e.changeSecret)
	mux.HandleFunc("DELETE /_emulator/apps/{client}/secrets", e.changeSecret)
	serveFaults(mux, "/_emulator/faults", func(http.ResponseWriter, *http.Request) faultPlace { return e.entra })

	const org = "/_emulator/organizations/{name}"
	mux.HandleFunc("GET "+org, e.onOrganization(showOrganization))
	mux.HandleFunc("POST "+org, e.onOrganization(changeOrganization))
	mux.HandleFunc("GET "+org+"/requests", e.onOrganization(showRequests))
	mux.HandleFunc("POST "+org+"/revoke", e.onOrganization(func(w http.ResponseWriter, _ *http.Request, o *Organization) {
		o.RevokeTokens()
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("PUT "+org+"/limits", e.onOrganization(setLimits))
	mux.HandleFunc("PUT "+org+"/users/{client}", e.onOrganization(putUser))
	mux.HandleFunc("DELETE "+org+"/users/{client}", e.onOrganization(func(w http.ResponseWriter, r *http.Request, o *Organization) {
		o.RemoveApplicationUser(r.PathValue("client"))
		w.WriteHeader(http.StatusNoContent)
	}))
	serveFaults(mux, org+"/faults", func(w http.ResponseWriter, r *http.Request) faultPlace {
		if o := e.Organization(r.PathValue("name")); o != nil {
			return o
		}
		return nil
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// faultPlace is where faults are: Entra ID or an organization.
type faultPlace interface {
	Inject(Fault) error
	Heal()
	Faults() []Fault
}

// Faults returns the faults of Entra ID that are not used up.
func (e *Entra) Faults() []Fault { return e.faults.all() }

// Faults returns the faults of the organization that are not used up.
func (o *Organization) Faults() []Fault { return o.faults.all() }

// serveFaults lists, adds and heals the faults of the place that find returns,
// nil if there is none.
func serveFaults(mux *http.ServeMux, path string, find func(http.ResponseWriter, *http.Request) faultPlace) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		p := find(w, r)
		if p == nil {
			fail(w, http.StatusNotFound, "there is no such organization")
			return
		}
		switch r.Method {
		case http.MethodGet:
			writeJSON(w, http.StatusOK, p.Faults())
		case http.MethodDelete:
			p.Heal()
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			var f Fault
			if !readJSON(w, r, &f) {
				return
			}
			if err := p.Inject(f); err != nil {
				fail(w, http.StatusBadRequest, err.Error())
				return
			}
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", "GET, POST, DELETE")
			fail(w, http.StatusMethodNotAllowed, "GET, POST or DELETE")
		}
	})
}

// onOrganization finds the organization that the path names.
func (e *Emulator) onOrganization(serve func(http.ResponseWriter, *http.Request, *Organization)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o := e.Organization(r.PathValue("name"))
		if o == nil {
			fail(w, http.StatusNotFound, "there is no organization "+r.PathValue("name"))
			return
		}
		serve(w, r, o)
	}
}

func (e *Emulator) showState(w http.ResponseWriter, _ *http.Request) {
	type organization struct {
		Name     string   `json:"name"`
		TenantID string   `json:"tenant_id"`
		URL      string   `json:"url"`
		Hosts    []string `json:"hosts"`
		Received int      `json:"received"`
		Limits   Limits   `json:"limits"`
	}
	list := []organization{}
	for _, o := range e.organizations {
		list = append(list, organization{o.name, o.tenantID, o.URL(), o.hosts, o.Received(), o.throttle.current()})
	}
	apps := []map[string]string{}
	for _, a := range e.entra.registrations() {
		apps = append(apps, map[string]string{"client_id": a.ClientID, "name": a.Name})
	}
	writeJSON(w, http.StatusOK, map[string]any{"login_host": e.LoginHost(), "organizations": list, "apps": apps})
}

// registrations returns the apps in the order of their client ids.
func (e *Entra) registrations() []*app {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*app
	for _, a := range e.apps {
		list = append(list, a)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ClientID < list[j].ClientID })
	return list
}

func (e *Emulator) showTokenRequests(w http.ResponseWriter, _ *http.Request) {
	type counted struct {
		TokenRequest
		Count int `json:"count"`
	}
	list := []counted{}
	e.entra.mu.Lock()
	for q, n := range e.entra.asked {
		list = append(list, counted{q, n})
	}
	e.entra.mu.Unlock()
	sort.Slice(list, func(i, j int) bool { return fmt.Sprint(list[i].TokenRequest) < fmt.Sprint(list[j].TokenRequest) })
	writeJSON(w, http.StatusOK, list)
}

func (e *Emulator) setTokens(w http.ResponseWriter, r *http.Request) {
	var v struct {
		Life      span `json:"life"`
		RefreshIn span `json:"refresh_in"`
	}
	if !readJSON(w, r, &v) {
		return
	}
	if v.Life < 0 || v.RefreshIn < 0 {
		fail(w, http.StatusBadRequest, "life and refresh_in are not negative")
		return
	}
	e.entra.SetTokenLife(time.Duration(v.Life), time.Duration(v.RefreshIn))
	w.WriteHeader(http.StatusNoContent)
}

func (e *Emulator) addApp(w http.ResponseWriter, r *http.Request) {
	var v struct {
		ClientID     string   `json:"client_id"`
		Name         string   `json:"name"`
		Secrets      []string `json:"secrets"`
		RedirectURIs []string `json:"redirect_uris"`
		Public       bool     `json:"public"`
	}
	if !readJSON(w, r, &v) {
		return
	}
	err := e.entra.AddApp(App{ClientID: v.ClientID, Name: v.Name, Secrets: v.Secrets, RedirectURIs: v.RedirectURIs, Public: v.Public})
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *Emulator) addRedirectURI(w http.ResponseWriter, r *http.Request) {
	var v struct {
		URI string `json:"uri"`
	}
	if readJSON(w, r, &v) {
		done(w, e.entra.AddRedirectURI(r.PathValue("client"), v.URI), "app")
	}
}

func (e *Emulator) changeSecret(w http.ResponseWriter, r *http.Request) {
	var v struct {
		Secret  string `json:"secret"`
		Expired bool   `json:"expired"`
	}
	if !readJSON(w, r, &v) {
		return
	}
	client := r.PathValue("client")
	if r.Method == http.MethodDelete {
		done(w, e.entra.RemoveSecret(client, v.Secret), "app")
		return
	}
	done(w, e.entra.SetSecret(client, v.Secret, v.Expired), "app")
}
