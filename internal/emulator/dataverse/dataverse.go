// Package dataverse is a small Dataverse organization in memory: the data
// behind authentication, as an HTTP client meets it.
//
// It answers the Web API (/api/data/vX.Y/), relevance search (/api/search/)
// and the organization service (/XRMServices/2011/Organization.svc and /web):
// its description, its operations and the messages that concern records. What it
// answers is meant to be right: a query, function or header that it does not
// implement is refused with an error of Dataverse's shape, never answered
// approximately.
//
// It is deterministic. Identifiers, row versions and times follow from the
// organization's id and the number of writes it has seen: the clock begins at
// a fixed day and moves on by one second a write. Two organizations that are
// made alike and asked alike answer alike, byte for byte.
//
// It knows nothing of tokens, limits or transport: whoever calls Serve has
// decided that the caller may come in.
package dataverse

import (
	"net/http"
	"strings"
	"sync"
)

// Caller is the application user on whose behalf a request runs.
type Caller struct {
	UserID        string // systemuserid
	ApplicationID string // the application's client id
	NoRole        bool   // it holds no security role, whatever the data say
}

// Organization is one organization with its data. It may be used by several
// goroutines at once.
type Organization struct {
	name     string
	id       string
	tenantID string

	mu       sync.RWMutex // guards data and sessions
	data     *store
	sessions map[string]*uploadSession // chunked uploads that are under way, by token
}

// New returns an organization with its seed data. name is its unique name, id
// its organization id and tenantID its Entra tenant (both GUIDs).
func New(name, id, tenantID string) *Organization {
	o := &Organization{
		name:     name,
		id:       strings.ToLower(id),
		tenantID: strings.ToLower(tenantID),
		sessions: map[string]*uploadSession{},
	}
	o.data = newStore(o.id, newSchema())
	o.data.seed(name)
	return o
}

// Serve answers one authenticated request. The base of every link it writes is
// "https://" and the request's Host. Header names are written in Dataverse's
// own spelling.
func (o *Organization) Serve(w http.ResponseWriter, r *http.Request, who Caller) {
	path := strings.ToLower(r.URL.EscapedPath())
	switch {
	case strings.HasPrefix(path, "/api/data/"):
		o.serveWebAPI(w, r, who)
	case strings.HasPrefix(path, "/api/search/"):
		o.serveSearch(w, r)
	case strings.EqualFold(path, soapPath), strings.EqualFold(path, soapPath+"/web"):
		o.serveSOAP(w, r, who)
	default:
		WriteError(w, http.StatusNotFound, "0x80060888", "Resource not found for '"+r.URL.Path+"'.")
	}
}

// ApplicationUser finds the application user of an application id; ok is false
// where there is none.
func (o *Organization) ApplicationUser(applicationID string) (userID string, disabled, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	user := o.data.applicationUser(applicationID)
	if user == nil {
		return "", false, false
	}
	off, _ := user.values["isdisabled"].(bool)
	return user.id, off, true
}

// AddApplicationUser creates the application user of an application id in the
// root business unit, as a system administrator. An application user that is
// there already is returned as it is.
func (o *Organization) AddApplicationUser(applicationID string) (userID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if user := o.data.applicationUser(applicationID); user != nil {
		return user.id
	}
	return o.data.addApplicationUser(strings.ToLower(applicationID))
}

// RemoveApplicationUser deletes the application user of an application id, if
// there is one.
func (o *Organization) RemoveApplicationUser(applicationID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if user := o.data.applicationUser(applicationID); user != nil {
		o.data.remove(o.data.schema.table("systemuser"), user.id)
	}
}
