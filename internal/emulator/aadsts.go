package emulator

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refusal is an error of Entra ID, known by its AADSTS number.
type refusal struct {
	status     int
	oauth      string // the OAuth error
	code       int    // the AADSTS number
	message    string
	retryAfter time.Duration // sent as Retry-After unless zero
}

// refusals are the AADSTS numbers that the emulator can answer with. In a
// message {client}, {tenant}, {resource} and {value} stand for what the
// request named.
var refusals = map[int]refusal{
	50012:   {400, "invalid_client", 50012, "Authentication failed.", 0},
	50027:   {400, "invalid_request", 50027, "JWT token is invalid or malformed.", 0},
	50033:   {503, "temporarily_unavailable", 50033, "A transient error has occurred. Please try again.", 0},
	50059:   {400, "invalid_request", 50059, "No tenant-identifying information found in either the request or implied by any provided credentials.", 0},
	50196:   {400, "invalid_grant", 50196, "The server terminated an operation because it encountered a client request loop. Please contact your app vendor.", time.Minute},
	53003:   {400, "invalid_grant", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.", 0},
	65004:   {400, "authorization_declined", 65004, "User declined to consent to access the app.", 0},
	65001:   {400, "invalid_grant", 65001, "The user or administrator has not consented to use the application with ID '{client}'. Send an interactive authorization request for this user and resource.", 0},
	70003:   {400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '{value}'.", 0},
	70011:   {400, "invalid_scope", 70011, "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid.", 0},
	70016:   {400, "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.", 0},
	70018:   {400, "bad_verification_code", 70018, "Bad verification code. User typed in wrong user code for device code flow.", 0},
	70019:   {400, "expired_token", 70019, "Verification code expired.", 0},
	70021:   {401, "invalid_client", 70021, "No matching federated identity record found for presented assertion. {value}", 0},
	90002:   {400, "invalid_tenant", 90002, "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", 0},
	90033:   {503, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.", 0},
	90038:   {400, "invalid_request", 90038, "Tenant '{tenant}' request is being redirected to the National Cloud.", 0},
	90055:   {429, "temporarily_unavailable", 90055, "The number of requests has exceeded the quota of the tenant.", time.Minute},
	500011:  {400, "invalid_resource", 500011, "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", 0},
	500014:  {400, "invalid_resource", 500014, "The service principal for resource '{resource}' is disabled.", 0},
	500113:  {400, "invalid_request", 500113, "No reply address is registered for the application.", 0},
	50011:   {400, "invalid_request", 50011, "The redirect URI '{value}' specified in the request does not match the redirect URIs configured for the application '{client}'.", 0},
	530032:  {400, "invalid_grant", 530032, "Blocked by security policy.", 0},
	650052:  {400, "invalid_client", 650052, "The app is trying to access a service '{resource}' that your organization '{tenant}' lacks a service principal for. Contact your IT Admin to review the configuration of your service subscriptions.", 0},
	700011:  {400, "unauthorized_client", 700011, "Application with identifier '{client}' was not found in the directory.", 0},
	700016:  {400, "unauthorized_client", 700016, "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", 0},
	700021:  {401, "invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter.", 0},
	700022:  {400, "invalid_request", 700022, "The provided value for the input parameter 'scope' is not valid because it contains more than one resource.", 0},
	700023:  {401, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer.", 0},
	700024:  {401, "invalid_client", 700024, "Client assertion is not within its valid time range.", 0},
	700025:  {401, "invalid_client", 700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.", 0},
	700027:  {401, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. {value}", 0},
	700236:  {401, "invalid_client", 700236, "Entra ID tokens issued by issuer may not be used for federated identity credential flows for applications or managed identities registered in this tenant.", 0},
	900144:  {400, "invalid_request", 900144, "The request body must contain the following parameter: '{value}'.", 0},
	900382:  {400, "invalid_request", 900382, "Confidential Client is not supported in Cross Cloud request.", 0},
	1002012: {400, "invalid_scope", 1002012, "The provided value for scope {value} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", 0},
	7000112: {400, "unauthorized_client", 7000112, "Application '{client}' is disabled.", 0},
	7000215: {401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'.", 0},
	7000218: {401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", 0},
	7000222: {401, "invalid_client", 7000222, "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app, or consider using certificate credentials for added security.", 0},
	7000229: {401, "invalid_client", 7000229, "The client application {client} is missing service principal in the tenant {tenant}.", 0},
	9001023: {400, "invalid_request", 9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.", 0},
}

// refuse returns the refusal of that number, with the words of the request in
// its message. It is never nil: a number outside the table is an
// invalid_request.
func refuse(code int, about TokenRequest, value string) *refusal {
	r, ok := refusals[code]
	if !ok {
		r = refusal{status: http.StatusBadRequest, oauth: "invalid_request", code: code, message: "The request was refused."}
	}
	r.message = strings.NewReplacer("{client}", about.Client, "{tenant}", about.Tenant,
		"{resource}", about.Resource, "{value}", value).Replace(r.message)
	return &r
}

// writeRefusal answers in the shape of Entra ID's errors.
func (e *Entra) writeRefusal(w http.ResponseWriter, r *http.Request, f *refusal) {
	trace, correlation := w.Header().Get("x-ms-request-id"), correlationID(r)
	now := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", seconds(f.retryAfter))
	}
	writeJSON(w, f.status, map[string]any{
		"error": f.oauth,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			f.code, f.message, trace, correlation, now),
		"error_codes":    []int{f.code},
		"timestamp":      now,
		"trace_id":       trace,
		"correlation_id": correlation,
		"error_uri":      "https://" + commercialLogin + "/error?code=" + strconv.Itoa(f.code),
	})
}

// correlationID is the one that the client sent, or one made of nothing.
func correlationID(r *http.Request) string {
	if id := r.Header.Get("client-request-id"); id != "" {
		return id
	}
	return guid("correlation", r.URL.Path)
}

// seconds writes a duration as Retry-After wants it: whole seconds, rounded
// up, so that a client that waits as long is not too early.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
