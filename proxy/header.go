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
// beginning.
var requestRules = map[string]headerRule{
	// a caller's own credentials
	"authorization": strip, "cookie": strip, "cookie2": strip, "xapikey": strip, "proxy*": strip,
	// what servers in front of the proxy say of it, and what servers behind might believe
	"forwarded": strip, "via": strip, "xforwarded*": strip, "xrealip": strip, "xclientip": strip, "trueclientip": strip, "clientip": strip,
	"xoriginalurl": strip, "xrewriteurl": strip, "xoriginalhost": strip, "xhost": strip, "xmsoriginal*": strip,
	"origin": strip, "referer": strip, "sec*": strip,
	// what would change the connection to the organization
	"upgrade": strip, "connection": strip, "expect": strip, "te": strip, "keepalive": strip, "trailer": strip, "transferencoding": strip, "http2settings": strip,
	// who acts, and past what
	"callerobjectid": identity, "calleraadobjectid": identity, "callerid": identity, "mscrmcaller*": identity,
	"mscrmbypass*": bypass, "mscrmsuppress*": bypass,
	"mscrmsuppressduplicatedetection": pass, // concerns records alike, and no plug-in
	// another method
	"xhttpmethod*": override, "xmethod": override, "xmethodoverride": override, "httpmethod*": override, "methodoverride": override,
}

// beginnings are those of requestRules. firstLetters and longestBeginning bound
// the search for one.
var beginnings, firstLetters, longestBeginning = func() (map[string]headerRule, string, int) {
	found, letters, longest := make(map[string]headerRule), "", 0
	for name, rule := range requestRules {
		if beginning, is := strings.CutSuffix(name, "*"); is {
			found[beginning] = rule
			letters += beginning[:1]
			longest = max(longest, len(beginning))
		}
	}
	return found, letters, longest
}()

// fold appends to room what all spellings of a name have in common that some
// server takes for the same.
func fold(room []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '-' || c == '_' || c == '.':
		case 'A' <= c && c <= 'Z':
			room = append(room, c+'a'-'A')
		default:
			room = append(room, c)
		}
	}
	return room
}

// ruleOf returns the rule for a request's header.
func ruleOf(name string) headerRule {
	if name == "Content-Type" || name == "Accept" || name == "Content-Length" || name == "User-Agent" {
		return pass // on nearly every call
	}
	var room [64]byte
	folded := fold(room[:0], name)
	if rule, ok := requestRules[string(folded)]; ok {
		return rule
	}
	if len(folded) == 0 || strings.IndexByte(firstLetters, folded[0]) < 0 {
		return pass
	}
	for n := min(len(folded), longestBeginning); n > 1; n-- {
		if rule, ok := beginnings[string(folded[:n])]; ok {
			return rule
		}
	}
	return pass
}

// dropListed removes what is for the next hop alone because the header
// Connection says so.
func dropListed(header http.Header) {
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
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

// move takes the header of resp to the caller's, except for a type that makes
// ReverseProxy pass each piece on at once: it copies what it finds.
func move(to http.Header, resp *http.Response) {
	for name, values := range resp.Header {
		if name == "Content-Type" && len(values) > 0 && isEventStream(values[0]) {
			continue
		}
		if name == "Content-Type" && resp.StatusCode == http.StatusNotModified {
			to["Content-type"] = values // net/http leaves it out by its usual spelling
		} else {
			to[name] = values
		}
		delete(resp.Header, name)
	}
}

func isEventStream(kind string) bool {
	const events = "text/event-stream"
	return len(kind) >= len(events) && strings.EqualFold(kind[:len(events)], events)
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
