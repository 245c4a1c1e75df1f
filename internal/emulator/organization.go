package emulator

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/emulator/dataverse"
)

// Organization is an emulated Dataverse organization: the face that it shows
// to the network. Its data live in package dataverse.
type Organization struct {
	name, id, tenantID string
	hosts              []string // real names
	emulator           *Emulator
	data               *dataverse.Organization

	faults   faults
	throttle throttle
	received requestLog
	zips     sync.Pool // of *gzip.Writer

	mu       sync.Mutex // guards what follows
	address  string     // loopback host:port once started
	revoked  int64      // tokens up to this sequence are refused
	answers  int64      // which gives each answer its ids
	disabled map[string]bool
	noRole   map[string]bool
}

// Name returns the unique name.
func (o *Organization) Name() string { return o.name }

// TenantID returns the Entra ID tenant.
func (o *Organization) TenantID() string { return o.tenantID }

// URL returns the base URL without a final slash: of the loopback address once
// the emulator is started, else of the first real name, else "".
func (o *Organization) URL() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.address != "":
		return "https://" + o.address
	case len(o.hosts) > 0:
		return "https://" + o.hosts[0]
	}
	return ""
}

func (o *Organization) setAddress(hostport string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.address = hostport
}

// isResource reports whether a resource, such as https://host or
// https://host/, is this organization under one of its names.
func (o *Organization) isResource(resource string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(resource), "https://")
	if !ok {
		return false
	}
	host := strings.TrimSuffix(strings.TrimSuffix(rest, "/"), ":443")
	for _, h := range o.hosts {
		if h == host {
			return true
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	name, port, err := net.SplitHostPort(host)
	if err != nil || o.address == "" {
		return false
	}
	_, own, _ := net.SplitHostPort(o.address)
	return isLoopback(name) && port == own
}

// SetLimits changes the service protection limits. What was counted stays
// counted.
func (o *Organization) SetLimits(l Limits) { o.throttle.set(l) }

// RevokeTokens makes the organization refuse every token issued before now.
func (o *Organization) RevokeTokens() {
	e := o.emulator.entra
	e.mu.Lock()
	last := e.sequence
	e.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revoked = last
}

// AddApplicationUser creates the application user of an app, enabled and with
// a role.
func (o *Organization) AddApplicationUser(clientID string) {
	o.data.AddApplicationUser(clientID)
	o.SetApplicationUser(clientID, false, false)
}

// RemoveApplicationUser deletes it.
func (o *Organization) RemoveApplicationUser(clientID string) { o.data.RemoveApplicationUser(clientID) }

// SetApplicationUser disables an application user or takes its roles away, or
// undoes either.
func (o *Organization) SetApplicationUser(clientID string, disabled, noRole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clientID = strings.ToLower(clientID)
	o.disabled[clientID], o.noRole[clientID] = disabled, noRole
}

// serve answers a request to the organization.
func (o *Organization) serve(w http.ResponseWriter, r *http.Request) {
	conn := connection(r)
	reused := conn.begin(o)
	n := o.received.begin(r)
	server := o.throttle.server(cookieValue(r, "ARRAffinity"))
	n.caller("", server)
	at := moment{method: r.Method, path: r.URL.Path, tenant: o.tenantID}
	if _, ok := o.faults.take(Down, at); ok {
		panic(http.ErrAbortHandler)
	}

	c, refusal := o.identify(r)
	n.caller(c.app, server)
	at.client = c.app
	if _, ok := o.faults.takeIf(reused, TearReusedHead, at); ok {
		panic(http.ErrAbortHandler)
	}
	a := &answer{w: w, r: r, entry: n, conn: conn, tear: o.tearing(at), zips: &o.zips}
	o.bend(a, at)
	if a.tear == ResetBefore {
		n.drain()
		panic(http.ErrAbortHandler)
	}
	where := place{c.who.UserID, server}
	o.writeHeaders(a, server)
	o.faults.skew(a, at)
	if refusal = o.frontDoor(at, refusal); refusal == nil {
		refusal = o.admit(c, at)
	}
	if refusal == nil {
		a.leave, refusal = o.budget(at, where)
	}
	if c.app != "" {
		o.writeBudget(a, where)
	}
	o.finish(a, r, c, at, refusal)
}

// finish carries a request out, or refuses it. A slow organization is slow in
// both, and the time that it takes is execution time.
func (o *Organization) finish(a *answer, r *http.Request, c caller, at moment, refusal http.HandlerFunc) {
	if a.leave != nil {
		// Who panics has left, too.
		defer a.leave()
	}
	if f, ok := o.faults.take(Slow, at); ok && !wait(r, f.Delay) {
		panic(http.ErrAbortHandler)
	}
	a.inform()
	switch {
	case refusal != nil:
		a.entry.drain()
		refusal(a, r)
	case o.lacksRole(c) && privilegeOf(r) != "":
		forbid("0x80048306", missingPrivilege(c.who.UserID, privilegeOf(r)))(a, r)
	default:
		o.data.Serve(a, r, c.who)
	}
	a.finish()
}

// tearing says whether and when the answer to a request is torn.
func (o *Organization) tearing(at moment) FaultKind {
	for _, kind := range []FaultKind{ResetBefore, ResetAfter, ResetMiddle} {
		if _, ok := o.faults.take(kind, at); ok {
			return kind
		}
	}
	return ""
}

// writeHeaders sets what every answer of an organization carries. The two
// values of REQ_ID are equal, in the real world as well.
func (o *Organization) writeHeaders(w http.ResponseWriter, server int) {
	o.mu.Lock()
	o.answers++
	id, activity := guid(o.name, "request", o.answers), guid(o.name, "activity", o.answers)
	o.mu.Unlock()
	h := w.Header()
	h["x-ms-service-request-id"] = []string{activity + "," + id}
	h["REQ_ID"] = []string{id, id}
	h["AuthActivityId"] = []string{activity}
	h["CRM.ServiceId"] = []string{"CRMAppPool"}
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("Expires", "-1")
	h.Set("Cache-Control", "no-cache")
	h.Set("Public", "OPTIONS,GET,HEAD,POST")
	h.Set("X-Source", "1311892302482192441412718819824319414223610821811813,22513819417710925416814016114819425113019322722622")
	h.Add("Set-Cookie", "ARRAffinity="+serverName(server)+"; path=/; secure; HttpOnly")
	h.Add("Set-Cookie", "ReqClientId="+guid(o.name, "client", id)+"; expires="+
		time.Now().UTC().AddDate(50, 0, 0).Format(http.TimeFormat)+"; path=/; secure; HttpOnly")
}

// writeBudget sets the headers that tell what is left.
func (o *Organization) writeBudget(w http.ResponseWriter, at place) {
	limits := o.throttle.current()
	if limits.Silent {
		return
	}
	h := w.Header()
	h["x-ms-dop-hint"] = []string{strconv.Itoa(limits.DOPHint)}
	requests, seconds := o.throttle.remaining(at)
	if requests != "" {
		h["x-ms-ratelimit-burst-remaining-xrm-requests"] = []string{requests}
	}
	if seconds != "" {
		h["x-ms-ratelimit-time-remaining-xrm-requests"] = []string{seconds}
	}
}

func cookieValue(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}
