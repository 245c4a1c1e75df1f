package emulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// deviceLife is how long a device code waits for its user.
const deviceLife = 15 * time.Minute

// devicePath is where a user types the code.
const devicePath = "/common/oauth2/deviceauth"

// device is a sign-in by device code on its way.
type device struct {
	client, scope, tenant string // tenant as the path named it
	userCode              string
	until                 time.Time
	user                  *tenant // whose administrator accepted
	declined              bool
}

// serveDeviceCode begins a sign-in by device code.
func (e *Entra) serveDeviceCode(w http.ResponseWriter, r *http.Request, tenantName string) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	q := TokenRequest{Tenant: tenantName, Client: r.PostFormValue("client_id")}
	if e.applyFaults(w, r, q) {
		return
	}
	a := e.app(q.Client)
	switch {
	case len(e.administrators(tenantName)) == 0:
		e.writeRefusal(w, r, refuse(90002, q, ""))
		return
	case a == nil:
		e.writeRefusal(w, r, refuse(700016, q, ""))
		return
	case !a.Public:
		e.writeRefusal(w, r, refuse(7000218, q, ""))
		return
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	e.sequence++
	code := guid("device", e.sequence)
	d := &device{
		client: q.Client, scope: r.PostFormValue("scope"), tenant: tenantName,
		userCode: strings.ToUpper(guid("user code", e.sequence)[:8]), until: time.Now().Add(deviceLife),
	}
	e.devices[code] = d
	where := "https://" + r.Host + devicePath
	writeJSON(w, http.StatusOK, map[string]any{
		"user_code": d.userCode, "device_code": code, "verification_uri": where,
		"expires_in": int(deviceLife / time.Second), "interval": 1,
		"message": "To sign in, use a web browser to open the page " + where + " and enter the code " + d.userCode + " to authenticate.",
	})
}

// serveDeviceAuth is the page where the user types the code.
func (e *Entra) serveDeviceAuth(w http.ResponseWriter, r *http.Request) {
	shown := map[string]any{"Tenants": visitors(e.administrators("common")), "Code": r.URL.Query().Get("code")}
	if r.Method == http.MethodGet {
		writePage(w, http.StatusOK, devicePage, shown)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	accepted := r.PostFormValue("decision") == "accept"
	if !e.answerDevice(r.PostFormValue("user_code"), r.PostFormValue("tenant"), accepted) {
		shown["Problem"] = "That code didn't work. Check the code and try again."
		writePage(w, http.StatusBadRequest, devicePage, shown)
		return
	}
	shown["Done"] = "You have declined. You may now close this window."
	if accepted {
		shown["Done"] = "You have signed in. You may now close this window."
	}
	writePage(w, http.StatusOK, devicePage, shown)
}

// answerDevice notes the decision of a tenant's administrator on a code. It
// reports whether there is such a code for that tenant.
func (e *Entra) answerDevice(userCode, tenantID string, accepted bool) bool {
	t := e.tenant(tenantID)
	if t == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.devices {
		if !strings.EqualFold(d.userCode, strings.TrimSpace(userCode)) || time.Now().After(d.until) {
			continue
		}
		if !isShared(d.tenant) && e.tenants[strings.ToLower(d.tenant)] != t {
			return false
		}
		d.user, d.declined = t, !accepted
		return true
	}
	return false
}

// ApproveDevice accepts a sign-in by device code as the tenant's
// administrator, without the page. It reports whether there was such a code.
func (e *Entra) ApproveDevice(userCode, tenantID string) bool {
	return e.answerDevice(userCode, tenantID, true)
}

// grantDevice answers a device that asks whether its user has decided. A code
// is good for one token.
func (e *Entra) grantDevice(q TokenRequest, form url.Values) (map[string]any, *refusal) {
	e.mu.Lock()
	code := form.Get("device_code")
	d := e.devices[code]
	var user *tenant
	if d != nil {
		user = d.user
	}
	var refused *refusal
	switch {
	case d == nil || !strings.EqualFold(d.client, q.Client):
		refused = refuse(70018, q, "")
	case time.Now().After(d.until):
		refused = refuse(70019, q, "")
	case user == nil:
		refused = refuse(70016, q, "")
	case d.declined:
		refused = refuse(65004, q, "")
	default:
		delete(e.devices, code)
	}
	e.mu.Unlock()
	if refused != nil {
		return nil, refused
	}
	return e.issueUser(user, d, q)
}

// issueUser issues the token of an administrator.
func (e *Entra) issueUser(t *tenant, d *device, q TokenRequest) (map[string]any, *refusal) {
	q.Tenant, q.Resource = t.id, userResource(d.scope)
	if t.organization(q.Resource) == nil {
		return nil, refuse(500011, q, "")
	}
	oid := guid("administrator", t.id)
	answer, refused := e.issue(t, q.Resource, "", map[string]any{
		"appid": q.Client, "appidacr": "0", "idtyp": "user", "scp": "user_impersonation",
		"oid": oid, "sub": oid, "upn": t.administrator(), "name": "Administrator of " + t.name(),
	})
	if refused != nil {
		return nil, refused
	}
	now := time.Now()
	id, err := e.keys.sign(map[string]any{
		"aud": q.Client, "iss": issuer(t.id), "tid": t.id, "oid": oid, "sub": oid, "preferred_username": t.administrator(),
		"name": "Administrator of " + t.name(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "ver": "2.0",
	})
	if err != nil {
		return nil, refuse(90033, q, "")
	}
	info, err := json.Marshal(map[string]string{"uid": oid, "utid": t.id})
	if err != nil {
		return nil, refuse(90033, q, "")
	}
	answer["id_token"], answer["client_info"], answer["scope"] = id, base64url(info), d.scope
	return answer, nil
}

// userResource reads the resource from the scope of a user's sign-in, which
// names a permission where an app says .default.
func userResource(scope string) string {
	for _, s := range strings.Fields(scope) {
		for _, permission := range []string{"/.default", "/user_impersonation"} {
			if resource, ok := strings.CutSuffix(s, permission); ok {
				return resource
			}
		}
	}
	return ""
}
