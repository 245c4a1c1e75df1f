package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// outbound turns the caller's request into the organization's: its address,
// with path and query as they were sent, and without the headers that are not
// for it. ReverseProxy would drop what it cannot parse of the query, and OData
// nests ';' in $expand; so the raw request target is put back, as Opaque, which
// is written as it stands.
func outbound(pr *httputil.ProxyRequest) {
	c := callFrom(pr.In.Context())
	pr.Out.URL = &url.URL{
		Scheme: "https", Host: c.tenant.OrgHost(), Opaque: c.path,
		RawQuery: c.query, ForceQuery: c.asked,
	}
	pr.Out.Host = c.tenant.OrgHost()
	for name := range pr.Out.Header {
		if forbidden(name, c.impersonation()) {
			delete(pr.Out.Header, name)
		}
	}
	spell(pr.Out.Header)
	if c.person != "" {
		pr.Out.Header["CallerObjectId"] = []string{c.person}
	}
	pr.Out.Header["x-ms-client-request-id"] = []string{c.id}
	delete(pr.Out.Header, requestIDHeader)
	if !verbatim(pr.Out) {
		// Answers that are rewritten must come in a coding that is understood here.
		pr.Out.Header["Accept-Encoding"] = []string{"gzip"}
	}
}

// verbatim reports whether the answer will be passed on as it comes: the bytes
// of a file or image column, or a part of something.
func verbatim(r *http.Request) bool {
	return r.Header.Get("Range") != "" || strings.HasSuffix(strings.ToLower(r.URL.Opaque), "/$value")
}

// neverSent are the headers that stay behind, in canonical form: a caller's
// own credentials, what servers in front of the proxy say of it, and what would
// change the connection to the organization. Those that ReverseProxy removes
// itself are not repeated.
var neverSent = map[string]bool{
	"Authorization": true, "Cookie": true, "Cookie2": true, "X-Api-Key": true,
	"Upgrade": true, "Connection": true, "Expect": true, "Te": true,
	"Forwarded": true, "Via": true, "X-Real-Ip": true, "X-Client-Ip": true, "True-Client-Ip": true, "Client-Ip": true,
	"X-Original-Url": true, "X-Rewrite-Url": true, "X-Original-Host": true, "X-Host": true,
	"Origin": true, "Referer": true,
}

// forbidden reports whether a request's header stays behind. With impersonation
// a caller may act as somebody else and go round plug-ins.
func forbidden(name string, impersonation bool) bool {
	name = http.CanonicalHeaderKey(name)
	switch {
	case neverSent[name], strings.HasPrefix(name, "X-Forwarded"), strings.HasPrefix(name, "Proxy-"), strings.HasPrefix(name, "Sec-"):
		return true
	case name == "Callerobjectid", name == "Mscrmcallerid", name == "Calleraadobjectid", strings.HasPrefix(name, "Mscrm.bypass"):
		return !impersonation
	}
	return false
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
