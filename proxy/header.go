package proxy

import (
	"net/http"
	"strings"

	"dynproxy/internal/odata"
)

// Every rule about a header stands in this file: what of a request stays
// behind, what of it is refused, how names are spelled, and what of an answer
// goes. A rule for requests is one line in requestRules.

// headerRule says what happens to a header of a request or of a batch part.
type headerRule uint8

const (
	pass     headerRule = iota
	strip               // stays behind
	identity            // acts as somebody else: refused unless IMPERSONATION allows it
	bypass              // goes round plug-ins: refused unless IMPERSONATION allows it
	override            // asks to be taken for another method: a write
)

// requestRules are the rules by folded name. A name that ends in '*' is a
// beginning. Hop-by-hop headers that ReverseProxy removes itself are not
// repeated.
var requestRules = map[string]headerRule{
	// a caller's own credentials
	"authorization": strip, "cookie": strip, "cookie2": strip, "xapikey": strip, "proxy*": strip,
	// what servers in front of the proxy say of it, and what servers behind might believe
	"forwarded": strip, "via": strip, "xforwarded*": strip, "xrealip": strip, "xclientip": strip, "trueclientip": strip, "clientip": strip,
	"xoriginalurl": strip, "xrewriteurl": strip, "xoriginalhost": strip, "xhost": strip, "xmsoriginal*": strip,
	"origin": strip, "referer": strip, "sec*": strip,
	// what would change the connection to the organization
	"upgrade": strip, "connection": strip, "expect": strip, "te": strip,
	// who acts, and past what
	"callerobjectid": identity, "calleraadobjectid": identity, "callerid": identity, "mscrmcaller*": identity,
	"mscrmbypass*": bypass, "mscrmsuppress*": bypass,
	"mscrmsuppressduplicatedetection": pass, // concerns records alike, and no plug-in
	// another method
	"xhttpmethod*": override, "xmethod": override, "xmethodoverride": override,
}

// longestRule bounds the search for a beginning.
var longestRule = func() (n int) {
	for name := range requestRules {
		n = max(n, len(name))
	}
	return n
}()

// fold makes one of all spellings of a name that some server takes for the
// same.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '-' || c == '_' || c == '.':
			return -1
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, name)
}

// ruleOf returns the rule for a request's header.
func ruleOf(name string) headerRule {
	if name == "Content-Type" || name == "Accept" || name == "Content-Length" || name == "User-Agent" {
		return pass // on nearly every call
	}
	folded := fold(name)
	if rule, ok := requestRules[folded]; ok {
		return rule
	}
	for n := min(len(folded), longestRule); n > 1; n-- {
		if rule, ok := requestRules[folded[:n]+"*"]; ok {
			return rule
		}
	}
	return pass
}

// stripRequest removes from header, of a request or of a batch part, what
// stays behind. What is refused has been by now.
func stripRequest[H ~map[string][]string](header H) {
	for name := range header {
		if ruleOf(name) == strip {
			delete(header, name)
		}
	}
}

// overrides reports whether the request asks to be taken for another method.
func overrides[H ~map[string][]string](header H) bool {
	for name, values := range header {
		if ruleOf(name) == override && strings.Join(values, "") != "" {
			return true
		}
	}
	return false
}

// answerStripped are the headers of an answer that are between the
// organization and the proxy, in canonical form.
var answerStripped = []string{"Set-Cookie", "Strict-Transport-Security", "Www-Authenticate", "Authorization", "Proxy-Authenticate"}

// answerHeader turns the organization's header, of an answer or of an interim
// one, into the proxy's.
func answerHeader(header http.Header, links *odata.Rewriter) {
	for _, name := range answerStripped {
		delete(header, name)
	}
	links.HeaderToPublic(header)
}

// spellings are the header names that Dataverse writes in its own way. Old
// clients search answers for them letter by letter.
var spellings = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"OData-EntityId", "OData-Version", "OData-MaxVersion", "OData-Error", "REQ_ID", "ETag", "CRM.ServiceId", "AuthActivityId",
		"MSCRM.SessionToken", "MSCRM.SolutionUniqueName", "MSCRM.SuppressDuplicateDetection", "MSCRM.MergeLabels",
		"MSCRM.SuppressCallbackRegistrationExpanderJob", "MSCRM.BypassCustomPluginExecution", "MSCRM.BypassBusinessLogicExecution",
		"MSCRM.BypassBusinessLogicExecutionStepIds", "MSCRMCallerID", "CallerObjectId", "SOAPAction",
		"x-ms-service-request-id", "x-ms-client-request-id", "x-ms-client-session-id", "x-ms-correlation-request-id",
		"x-ms-session-token", "x-ms-dop-hint", "x-ms-file-name", "x-ms-file-size", "x-ms-chunk-size", "x-ms-transfer-mode", "mimetype",
		"x-ms-ratelimit-burst-remaining-xrm-requests", "x-ms-ratelimit-time-remaining-xrm-requests", "x-ms-utilization-percent",
	} {
		if canonical := http.CanonicalHeaderKey(name); canonical != name {
			m[canonical] = name
		}
	}
	return m
}()

// spell gives the names in header Dataverse's spelling.
func spell(header http.Header) {
	for canonical, values := range header {
		if name, odd := spellings[canonical]; odd {
			delete(header, canonical)
			header[name] = values
		}
	}
}
