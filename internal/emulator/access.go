package emulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"reflect"
	"strings"
	"time"

	"dynproxy/internal/emulator/dataverse"
)

// caller is who a good token speaks for. app is "" without one.
type caller struct {
	who   dataverse.Caller
	app   string // client id
	user  bool   // an administrator, and no application user
	asked string // the claims parameter with which the token was asked
}

// identify reads the token of a request. Without a good one it returns the
// refusal beside an empty caller.
func (o *Organization) identify(r *http.Request) (caller, http.HandlerFunc) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, o.challenge
	}
	token, err := parseJWT(strings.TrimSpace(text))
	if err != nil || !o.accepts(token) {
		return caller{}, o.challenge
	}
	c := caller{app: strings.ToLower(token.Claims.App), user: token.Claims.IDType == "user", asked: token.Claims.Asked}
	c.who.ApplicationID = c.app
	c.who.UserID, _, _ = o.data.ApplicationUser(c.app)
	c.who.NoRole = o.lacksRole(c)
	if c.user {
		// The data know application users only; the administrator is one of
		// them, made when first seen.
		c.who = dataverse.Caller{UserID: o.data.AddApplicationUser(guid("administrator", o.tenantID))}
	}
	return c, nil
}

// accepts checks signature, issuer, tenant, audience, times and revocation.
// There is no leeway, so that a token too old by a second shows.
func (o *Organization) accepts(token *jwt) bool {
	e := o.emulator.entra
	c := token.Claims
	now := time.Now()
	o.mu.Lock()
	revoked := o.revoked
	o.mu.Unlock()
	return e.keys.signed(token) &&
		c.Tenant == o.tenantID && c.Issuer == issuer(o.tenantID) &&
		len(c.Audience) == 1 && o.isResource(c.Audience[0]) &&
		now.Before(time.Unix(c.Expires, 0)) && !now.Before(time.Unix(c.NotBefore, 0)) &&
		c.Sequence > revoked
}

// challenge is the answer to a request without a good token. It tells the
// tenant and the audience.
func (o *Organization) challenge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", o.bearer(r))
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, "HTTP Error 401 - Unauthorized: Access is denied")
}

func (o *Organization) bearer(r *http.Request) string {
	return "Bearer authorization_uri=https://" + o.emulator.loginHostFor(r.Host) + "/" + o.tenantID +
		"/oauth2/authorize, resource_id=https://" + r.Host + "/"
}

// frontDoor lets act what stands before authentication. unauthorized is the
// refusal of a request without a good token, nil for one with.
func (o *Organization) frontDoor(at moment, unauthorized http.HandlerFunc) http.HandlerFunc {
	if f, ok := o.faults.take(Status, at); ok {
		return func(w http.ResponseWriter, _ *http.Request) { writeGatewayError(w, f) }
	}
	if _, ok := o.faults.take(SignInPage, at); ok {
		return o.signInPage
	}
	if _, ok := o.faults.take(SignInRedirect, at); ok {
		return o.signInRedirect
	}
	if unauthorized != nil && isSOAP(at.path) {
		if _, ok := o.faults.take(SOAPSignIn, at); ok {
			return o.signInPage
		}
	}
	return unauthorized
}

func isSOAP(path string) bool { return strings.HasPrefix(strings.ToLower(path), "/xrmservices/") }

// signInURL is where a browser would be sent.
func (o *Organization) signInURL(r *http.Request) string {
	return "https://" + o.emulator.loginHostFor(r.Host) + "/" + o.tenantID + "/oauth2/authorize?client_id=" +
		dataverseApp + "&response_mode=form_post&response_type=code%20id_token&scope=openid%20profile&redirect_uri=https:%2F%2F" + r.Host + "%2F"
}

func (o *Organization) signInPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html>\r\n<html dir=\"ltr\" lang=\"en\"><head><title>Sign in to your account</title></head>"+
		"<body><form method=\"post\" action=\"%s\"><input type=\"email\" name=\"loginfmt\"></form></body></html>\r\n",
		html.EscapeString(o.signInURL(r)))
}

func (o *Organization) signInRedirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", o.signInURL(r))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusFound)
	fmt.Fprintf(w, "<html><head><title>Object moved</title></head><body>\r\n<h2>Object moved to <a href=\"%s\">here</a>.</h2>\r\n</body></html>\r\n",
		html.EscapeString(o.signInURL(r)))
}

// admit decides whether a caller with a good token may go on.
func (o *Organization) admit(c caller, at moment) http.HandlerFunc {
	if f, ok := o.faults.take(Claims, at); ok && !covers(c.asked, f.Claims) {
		return func(w http.ResponseWriter, r *http.Request) { o.challengeClaims(w, r, f.Claims) }
	}
	if _, ok := o.faults.take(Firewall, at); ok {
		return forbid("0x80095ffe", "The request you are trying to make is rejected as access to your ip is blocked. Contact your administrator to get your ip address added to the list of allowed ip addresses.")
	}
	if _, ok := o.faults.take(AccessControl, at); ok {
		return forbid("0x80095ffc", fmt.Sprintf("Access to Dataverse API is restricted for this application Id : '%s'. Contact your administrator.", c.app))
	}
	if f, ok := o.faults.take(Refuse, at); ok {
		return forbid(f.Code, f.Message)
	}
	if c.user {
		return nil
	}
	_, disabled, ok := o.data.ApplicationUser(c.app)
	o.mu.Lock()
	disabled = disabled || o.disabled[c.app]
	o.mu.Unlock()
	switch {
	case !ok:
		return forbid("0x80072560", "The user is not a member of the organization.")
	case disabled:
		return forbid("0x80040225", fmt.Sprintf("The specified user(Id = %s) is disabled. Consider enabling this user. Additional Details: User IsDisabled=true.", c.who.UserID))
	}
	return nil
}

// forbid refuses a request: the Web API by 403, SOAP by a fault.
func forbid(code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if isSOAP(r.URL.Path) {
			dataverse.WriteFault(w, code, message, 0)
			return
		}
		dataverse.WriteError(w, http.StatusForbidden, code, message)
	}
}

// challengeClaims asks for a token that was asked for with these claims.
func (o *Organization) challengeClaims(w http.ResponseWriter, r *http.Request, claims string) {
	w.Header().Set("WWW-Authenticate", o.bearer(r)+`, error="insufficient_claims", claims="`+
		base64.StdEncoding.EncodeToString([]byte(claims))+`"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// covers reports whether the claims parameter of a token request asked for all
// access token claims of a challenge. Clients may merge in others.
func covers(asked, challenge string) bool {
	var have, want struct {
		AccessToken map[string]any `json:"access_token"`
	}
	if json.Unmarshal([]byte(asked), &have) != nil || json.Unmarshal([]byte(challenge), &want) != nil {
		return false
	}
	for name, value := range want.AccessToken {
		if got, ok := have.AccessToken[name]; !ok || !reflect.DeepEqual(got, value) {
			return false
		}
	}
	return true
}

// lacksRole reports whether the caller is an application user without a role.
// Without any it may still ask who it is.
func (o *Organization) lacksRole(c caller) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.noRole[c.app] && !c.user
}

func missingPrivilege(userID, privilege string) string {
	return fmt.Sprintf("Principal user (Id=%s, type=8, roleCount=0, privilegeCount=0, accessMode=4), is missing %s privilege.", userID, privilege)
}

// privilegeOf names the privilege that a request needs, such as
// prvReadAccount; "" if it needs none.
func privilegeOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 4 || !strings.EqualFold(parts[0], "api") {
		return ""
	}
	set, _, _ := strings.Cut(parts[3], "(")
	switch set {
	case "", "WhoAmI", "RetrieveVersion", "RetrieveCurrentOrganization", "$metadata":
		return ""
	}
	verb := map[string]string{http.MethodPost: "Create", http.MethodPatch: "Write", http.MethodPut: "Write", http.MethodDelete: "Delete"}[r.Method]
	if verb == "" {
		verb = "Read"
	}
	name, plural := strings.CutSuffix(set, "ies")
	if plural {
		name += "y"
	} else {
		name = strings.TrimSuffix(set, "s")
	}
	return "prv" + verb + strings.ToUpper(name[:1]) + name[1:]
}
