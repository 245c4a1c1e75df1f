package proxy

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

// The whole policy: for every method, with and without a condition, what each
// outcome of an attempt comes to.
func TestRetryTable(t *testing.T) {
	broke := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	outcomes := map[string]struct {
		attempt attempt
		again   string // methods that go again, "all", or those with a condition as "PATCH*"
	}{
		"answered":                     {attempt{result: answered}, ""},
		"a refused token":              {attempt{result: tokenRefused}, "all"},
		"a web page":                   {attempt{result: webPage}, "all"},
		"throttled":                    {attempt{result: throttled}, "all"},
		"unavailable":                  {attempt{result: unavailable}, "GET HEAD PATCH* PUT* DELETE*"},
		"unavailable for long":         {attempt{result: unavailable, told: time.Hour}, ""},
		"never left":                   {attempt{result: failed, err: &egress.Error{Err: broke}}, "all"},
		"broke after it was sent":      {attempt{result: failed, err: &egress.Error{Sent: 9, Stage: egress.Await, Err: broke}}, "GET HEAD PATCH* PUT* DELETE*"},
		"took too long":                {attempt{result: failed, err: &egress.Error{Sent: 9, Timeout: true, Err: broke}}, ""},
		"a private address":            {attempt{result: failed, err: &egress.Error{Err: &net.OpError{Op: "dial", Err: egress.ErrPrivate}}}, ""},
		"no such name":                 {attempt{result: failed, err: &egress.Error{Err: &net.DNSError{IsNotFound: true}}}, ""},
		"the proxy's own refusal":      {attempt{result: failed, err: errors.New("refused here")}, ""},
		"a name service that is slow ": {attempt{result: failed, err: &egress.Error{Err: &net.DNSError{IsTemporary: true}}}, "all"},
	}
	for name, o := range outcomes {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PATCH", "PUT", "DELETE"} {
			for _, tag := range []string{"", "*", `W/"1"`} {
				q := question{method: method, ifMatch: tag, replayable: true, renewed: true, enforce: true, patience: time.Minute}
				named := method
				if tag == `W/"1"` && method != "GET" && method != "HEAD" {
					named += "*"
				}
				want := o.again == "all" || slices.Contains(strings.Fields(o.again), named)
				if got := retry(q, history{}, &o.attempt); got.again != want {
					t.Errorf("%s, %s If-Match %q: again %v", name, method, tag, got.again)
				}
				q.replayable = false
				if retry(q, history{}, &o.attempt).again {
					t.Errorf("%s, %s: a body that is not kept goes again", name, method)
				}
			}
		}
	}
	get := question{method: "GET", replayable: true, renewed: true, enforce: true, patience: time.Minute}
	for name, x := range map[string]struct {
		q    question
		past history
		a    attempt
		want bool
	}{
		"a second token":         {get, history{renewed: true}, attempt{result: tokenRefused}, false},
		"no other token":         {question{method: "GET", replayable: true}, history{}, attempt{result: tokenRefused}, false},
		"a second web page":      {get, history{renewed: true}, attempt{result: webPage}, false},
		"a third fault":          {get, history{faults: maxTries - 1}, attempt{result: unavailable}, false},
		"throttled, not obeyed":  {question{method: "GET", replayable: true}, history{}, attempt{result: throttled}, false},
		"throttled, many faults": {get, history{faults: 9}, attempt{result: throttled}, true},
	} {
		if got := retry(x.q, x.past, &x.a); got.again != x.want {
			t.Errorf("%s: again %v", name, got.again)
		}
	}
	for faults := range 2 {
		if p := retry(get, history{faults: faults}, &attempt{result: unavailable}).pause; p < 200*time.Millisecond<<faults || p > 400*time.Millisecond<<faults {
			t.Errorf("after %d faults a pause of %v", faults, p)
		}
	}
}

// That an answer was lost is not forgotten over attempts that never left.
func TestALostAnswerIsRemembered(t *testing.T) {
	unsent := &egress.Error{Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	patch := question{method: "PATCH", ifMatch: `W/"1"`}
	past := history{}.with(&attempt{result: failed, err: unsent})
	if past.lost || !strings.Contains(unanswered(new(tenants.Tenant), patch, past, unsent).(*problem.Error).Message, "Nothing of the request was sent") {
		t.Errorf("%+v", past)
	}
	past = past.with(&attempt{result: failed, sent: true}).with(&attempt{result: failed, err: unsent})
	if !past.lost || !strings.Contains(unanswered(new(tenants.Tenant), patch, past, unsent).(*problem.Error).Message, "may have been carried out") {
		t.Errorf("%+v", past)
	}
}
