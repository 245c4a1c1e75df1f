package emulator

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dynproxy/internal/emulator/dataverse"
)

// budget lets the limits, and the fault that plays one of them, act on a
// request. leave counts it out; refusal is nil if it may go on.
func (o *Organization) budget(m moment, at place) (leave func(), refusal http.HandlerFunc) {
	if f, ok := o.faults.take(Throttle, m); ok {
		return nil, tooMany(played(f, o.throttle.current()))
	}
	leave, refused := o.throttle.enter(at)
	if refused != nil {
		return nil, tooMany(refused)
	}
	return leave, nil
}

// played is the refusal that a Throttle fault describes.
func played(f Fault, l Limits) *overuse {
	requests, execution, concurrency := cmp.Or(l.Requests, 6000), cmp.Or(l.ExecutionTime, 20*time.Minute), cmp.Or(l.Concurrency, 52)
	p := &overuse{facet: requestsFacet, retryAfter: f.RetryAfter}
	switch f.Code {
	case "", requestsFacet.code:
		p.message = requestsMessage(requests, l.Window)
	case executionFacet.code:
		p.facet, p.message = executionFacet, executionMessage(execution, l.Window)
	case concurrencyFacet.code:
		p.facet, p.message = concurrencyFacet, concurrencyMessage(concurrency)
	default:
		p.facet = facet{code: f.Code}
	}
	p.message = cmp.Or(f.Message, p.message)
	return p
}

func requestsMessage(limit int, window time.Duration) string {
	return fmt.Sprintf("Number of requests exceeded the limit of %d over time window of %g seconds.", limit, window.Seconds())
}

func executionMessage(limit, window time.Duration) string {
	return fmt.Sprintf("Combined execution time of incoming requests exceeded limit of %s milliseconds over time window of %g seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later.",
		commas(limit.Milliseconds()), window.Seconds())
}

func concurrencyMessage(limit int) string {
	return fmt.Sprintf("Number of concurrent requests exceeded the limit of %d.", limit)
}

// tooMany refuses a request: the Web API by 429, SOAP by a fault.
func tooMany(o *overuse) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if isSOAP(r.URL.Path) {
			o.writeFault(w)
			return
		}
		if o.retryAfter > 0 {
			w.Header().Set("Retry-After", seconds(o.retryAfter))
		}
		dataverse.WriteError(w, http.StatusTooManyRequests, o.code, o.message)
	}
}

// writeFault answers as the Organization Service does: the wait is a duration
// in the details of an OrganizationServiceFault.
func (o *overuse) writeFault(w http.ResponseWriter) {
	var message strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&message, []byte(o.message))
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>`+
		`<faultcode>s:Client</faultcode><faultstring xml:lang="en-US">%[1]s</faultstring><detail>`+
		`<OrganizationServiceFault xmlns="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">`+
		`<ErrorCode>%[2]d</ErrorCode>`+
		`<ErrorDetails xmlns:c="http://schemas.datacontract.org/2004/07/System.Collections.Generic"><KeyValuePairOfstringanyType>`+
		`<c:key>Retry-After</c:key><c:value i:type="d:duration" xmlns:d="http://schemas.microsoft.com/2003/10/Serialization/">PT%[3]sS</c:value>`+
		`</KeyValuePairOfstringanyType></ErrorDetails><Message>%[1]s</Message><Timestamp>%[4]s</Timestamp><InnerFault i:nil="true"/>`+
		`</OrganizationServiceFault></detail></s:Fault></s:Body></s:Envelope>`,
		message.String(), o.number, seconds(o.retryAfter), time.Now().UTC().Format(time.RFC3339))
}
