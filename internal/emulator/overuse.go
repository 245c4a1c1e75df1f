package emulator

import (
	"cmp"
	"fmt"
	"net/http"
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
		refused.retryAfter = (refused.retryAfter + time.Second - 1).Truncate(time.Second)
		return nil, tooMany(refused)
	}
	return leave, nil
}

// played is the refusal that a Throttle fault describes.
func played(f Fault, l Limits) *overuse {
	requests, execution, concurrency := cmp.Or(l.Requests, 6000), cmp.Or(l.ExecutionTime, 20*time.Minute), cmp.Or(l.Concurrency, 52)
	p := &overuse{limitKind: requestsLimit, retryAfter: f.RetryAfter}
	switch f.Code {
	case "", requestsLimit.code:
		p.message = requestsMessage(requests, l.Window)
	case executionLimit.code:
		p.limitKind, p.message = executionLimit, executionMessage(execution, l.Window)
	case concurrencyLimit.code:
		p.limitKind, p.message = concurrencyLimit, concurrencyMessage(concurrency)
	default:
		p.limitKind = limitKind{code: f.Code}
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
			dataverse.WriteFault(w, o.code, o.message, o.retryAfter)
			return
		}
		if o.retryAfter > 0 {
			w.Header().Set("Retry-After", seconds(o.retryAfter))
		}
		dataverse.WriteError(w, http.StatusTooManyRequests, o.code, o.message)
	}
}
