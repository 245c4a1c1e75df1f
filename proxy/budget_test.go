package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/emulator"
	"dynproxy/internal/limits"
	"dynproxy/internal/needs"
	"dynproxy/internal/problem"
	"dynproxy/proxy"
)

// Five hundred callers at once, before an organization that enforces what its
// settings say: it never has to refuse, and all are answered.
func TestFiveHundredCallersWithinTheLimits(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "REQUESTS=200\nWINDOW=1s\nCONCURRENCY=8\nQUEUE_WAIT=30s"))
	c.contoso.SetLimits(emulator.Limits{Requests: 200, Window: time.Second, Concurrency: 8})
	var callers sync.WaitGroup
	statuses := make(chan *answer, 500)
	for range 500 {
		callers.Go(func() { statuses <- c.get("/contoso/api/data/v9.2/WhoAmI") })
	}
	callers.Wait()
	close(statuses)
	for a := range statuses {
		if a.StatusCode != 200 {
			t.Fatalf("a caller got %d %v %s", a.StatusCode, a.Header, a.body)
		}
	}
	if n := c.contoso.Answered(429); n > 0 {
		t.Errorf("the organization refused %d", n)
	}
}

// What an organization refuses for its limits reaches no caller, is sent again
// with its body, and is done once.
func TestARefusalIsWaitedOut(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0x80072322", "0x80072321", "0x80072326"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			c := newTestProxy(t)
			c.inject(emulator.Fault{Kind: emulator.Throttle, Code: code, RetryAfter: time.Second, Times: 1})
			began := time.Now()
			a := c.call("POST", create, `{"name":"waited out"}`, jsonType)
			if a.StatusCode != 204 {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if took := time.Since(began); took < time.Second {
				t.Errorf("sent again after %v, before Retry-After was over", took)
			}
			if rows := c.get(create + "?$filter=name%20eq%20'waited%20out'&$select=name").body; strings.Count(rows, "waited out") != 1 {
				t.Errorf("created %s", rows)
			}
		})
	}
}

// A refusal that would have to be waited out for too long is told with the
// time that is left of it; and only its tenant's callers are.
func TestARefusalThatIsTooLong(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=2s"), tenant("other", "ORG_URL=https://fabrikam.crm4.dynamics.com\nTENANT_ID="+fabrikamID))
	c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Minute, Times: 1})
	for range 3 {
		a := c.get("/contoso/api/data/v9.2/WhoAmI")
		a.refused(t, problem.LimitWaitExceeded, 429)
		if wait := a.Header.Get("Retry-After"); wait < "55" || wait > "75" || len(wait) != 2 {
			t.Errorf("Retry-After %q", wait)
		}
	}
	if n, _ := c.received("GET"); n != 1 {
		t.Errorf("the organization was asked %d times", n)
	}
	if a := c.get("/other/api/data/v9.2/WhoAmI"); a.StatusCode != 403 {
		t.Errorf("another tenant got %d", a.StatusCode)
	}
}

// SOAP says by a fault what the Web API says by 429.
func TestASOAPThrottleIsWaitedOut(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Second, Times: 1})
	a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI")))
	if n, bodies := c.received("POST"); a.StatusCode != 200 || n != 2 || bodies[0] != bodies[1] {
		t.Errorf("%d after %d attempts: %.300s", a.StatusCode, n, a.body)
	}
}

// A fault's code counts, and not the status that it comes with.
func TestASOAPThrottleIsOneAtAnyStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 500, 503} {
		attempts := 0
		c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
			if attempts++; attempts == 1 {
				w.WriteHeader(status)
				io.WriteString(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Detail><OrganizationServiceFault><ErrorCode>-2147015898</ErrorCode></OrganizationServiceFault></s:Detail></s:Fault></s:Body></s:Envelope>`)
			}
		}))
		if a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI"))); a.StatusCode != 200 || attempts != 2 {
			t.Errorf("with %d: %d after %d attempts: %.300s", status, a.StatusCode, attempts, a.body)
		}
	}
}

// Of two words about the wait the one that can be read counts.
func TestAWaitThatCannotBeReadLeavesTheOther(t *testing.T) {
	t.Parallel()
	refusals := 0
	c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=0s"), organization(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		refusals++
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Header().Set("Retry-After", "33")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><detail>`+
			`<OrganizationServiceFault xmlns="http://schemas.microsoft.com/xrm/2011/Contracts"><ErrorCode>-2147015902</ErrorCode><ErrorDetails><KeyValuePairOfstringanyType>`+
			`<key>Retry-After</key><value>as long as it takes</value></KeyValuePairOfstringanyType></ErrorDetails></OrganizationServiceFault></detail></s:Fault></s:Body></s:Envelope>`)
	}))
	a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI")))
	if a.Header.Get("Retry-After") != "33" || refusals != 1 {
		t.Errorf("%d refusals, Retry-After %q: %.300s", refusals, a.Header.Get("Retry-After"), a.body)
	}
}

// A date counts from the organization's own, whose clock may go otherwise.
func TestADateIsByTheOrganizationsClock(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		attempts, status := 0, 0
		c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=5s"), organization(t, func(w http.ResponseWriter, r *http.Request) {
			attempts++
			now := time.Now().UTC().Add(-behind)
			w.Header().Set("Date", now.Format(http.TimeFormat))
			w.Header().Set("Retry-After", now.Add(30*time.Second).Format(http.TimeFormat))
			w.WriteHeader(status)
		}))
		status = 503
		if a := c.get("/contoso/api/data/v9.2/WhoAmI"); a.StatusCode != 503 || attempts != 1 {
			t.Errorf("%v behind: %d after %d attempts", behind, a.StatusCode, attempts)
		}
		status = 429
		a := c.get("/contoso/api/data/v9.2/WhoAmI")
		a.refused(t, problem.LimitWaitExceeded, 429)
		if wait, _ := strconv.Atoi(a.Header.Get("Retry-After")); wait < 28 || wait > 40 || attempts != 2 {
			t.Errorf("%v behind: %d attempts, Retry-After %q", behind, attempts, a.Header.Get("Retry-After"))
		}
	}
}

// Where limits are not enforced, an organization's refusal is the caller's.
func TestModesThatDoNotEnforce(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"report", "off"} {
		c := newTestProxy(t, tenant("contoso", "LIMITS="+mode+"\nREQUESTS=1\nWINDOW=1h"))
		c.get("/contoso/api/data/v9.2/WhoAmI")
		c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: 7 * time.Second, Times: 1})
		a := c.get("/contoso/api/data/v9.2/WhoAmI")
		if a.StatusCode != 429 || a.Header.Get("Retry-After") != "7" || a.Header.Get("Dynproxy-Error") != "" {
			t.Errorf("%s: %d %v", mode, a.StatusCode, a.Header)
		}
	}
}

// What never left spends nothing of the budget, and what got no answer one
// request and the time that calls usually take.
func TestAnOutageSpendsWhatIsKnown(t *testing.T) {
	t.Parallel()
	gate, key := new(limits.Gate), limits.Key{Organization: "contoso.crm.dynamics.com", ClientID: clientID}
	silent := make(chan struct{})
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-silent
		}
	}), func(_ map[string]string, p *proxy.Parts) {
		p.Gate = gate
		p.Wire.(*egress.Client).SetPatience(egress.Patience{AnswerWithin: time.Second})
	})
	t.Cleanup(func() { close(silent) })
	c.get("/contoso/api/data/v9.2/accounts")
	before := gate.Snapshot(key)
	c.call("POST", create, "{}", jsonType).refused(t, problem.UpstreamTimeout, 504)
	if after := gate.Snapshot(key); after.Requests.Used != 2 || after.ExecutionTime.Used > 2*before.ExecutionTime.Used+1 {
		t.Errorf("an answer that never came: %+v, then %+v", before, after)
	}

	gate = new(limits.Gate)
	c = newTestProxy(t, func(_ map[string]string, p *proxy.Parts) {
		p.Gate = gate
		p.Wire = egress.New(egress.Config{ByTransport: needs.ByTransport(), Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}})
	})
	c.get("/contoso/api/data/v9.2/accounts").refused(t, problem.UpstreamUnreachable, 502)
	if s := gate.Snapshot(key); s.Window == 0 || s.Requests.Used != 0 || s.ExecutionTime.Used != 0 {
		t.Errorf("no connection: %+v", s)
	}
}

// Who waits for a tenant that is removed is told that, and not that its
// organization cannot be reached.
func TestWhoWaitsIsToldThatItsTenantIsGone(t *testing.T) {
	t.Parallel()
	gate, key := new(limits.Gate), limits.Key{Organization: "contoso.crm.dynamics.com", ClientID: clientID}
	holds, released := make(chan struct{}), make(chan struct{})
	var posts atomic.Int64
	c := newTestProxy(t, tenant("contoso", "CONCURRENCY=1"), func(_ map[string]string, p *proxy.Parts) { p.Gate = gate },
		organization(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				posts.Add(1)
				return
			}
			close(holds)
			<-released
		}))
	var callers sync.WaitGroup
	callers.Go(func() { c.get("/contoso/api/data/v9.2/accounts") })
	<-holds
	var waited *answer
	callers.Go(func() { waited = c.call("POST", create, "{}", jsonType) })
	for began := time.Now(); gate.Snapshot(key).Waiting == 0 && time.Since(began) < 20*time.Second; {
		time.Sleep(time.Millisecond)
	}
	gate.Retain(func(limits.Key) bool { return false })
	close(released)
	callers.Wait()
	waited.refused(t, problem.TenantUnknown, 404)
	if !strings.Contains(waited.body, "nothing of the request was sent") || posts.Load() != 0 {
		t.Errorf("%d sent: %s", posts.Load(), waited.body)
	}
}

// A caller that leaves the queue makes room for the next, and its request is
// never sent.
func TestACallerThatLeavesFreesItsPlace(t *testing.T) {
	t.Parallel()
	gate := new(limits.Gate)
	var deleted atomic.Bool
	holds, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	defer release()
	c := newTestProxy(t, tenant("contoso", "CONCURRENCY=1"), func(_ map[string]string, p *proxy.Parts) { p.Gate = gate },
		organization(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodDelete:
				deleted.Store(true)
			case r.URL.RawQuery == "hold":
				close(holds)
				<-released
			}
		}))
	waiting := func(n int) {
		t.Helper()
		for began := time.Now(); gate.Snapshot(limits.Key{Organization: "contoso.crm.dynamics.com", ClientID: clientID}).Waiting != n; time.Sleep(time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("never were %d waiting", n)
			}
		}
	}
	var first, last *answer
	var callers sync.WaitGroup
	callers.Go(func() { first = c.get("/contoso/api/data/v9.2/accounts?hold") })
	<-holds
	ctx, leave := context.WithCancel(t.Context())
	callers.Go(func() {
		r, _ := http.NewRequestWithContext(ctx, "DELETE", c.server.URL+"/contoso/api/data/v9.2/accounts(00000000-0000-0000-0000-000000000001)", nil)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			t.Errorf("who left got %s", resp.Status)
		}
	})
	waiting(1)
	callers.Go(func() { last = c.get("/contoso/api/data/v9.2/accounts?$top=1") })
	waiting(2)
	leave()
	waiting(1)
	release()
	callers.Wait()
	if first.StatusCode != 200 || last.StatusCode != 200 {
		t.Errorf("the others got %d and %d", first.StatusCode, last.StatusCode)
	}
	if deleted.Load() {
		t.Error("the request of who had left was sent")
	}
}

// Twelve refusals in a row without rate limit headers, and an organization that
// is well again: nobody is refused for what is over.
func TestRefusalsThatAreOverLockNobodyOut(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "WINDOW=20s\nQUEUE_WAIT=60s"))
	c.contoso.SetLimits(emulator.Limits{Silent: true})
	c.get("/contoso/api/data/v9.2/WhoAmI")
	c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Second, Times: 12})
	var callers sync.WaitGroup
	answers := make(chan *answer, 320)
	for range 16 {
		callers.Go(func() {
			for range 20 {
				answers <- c.get("/contoso/api/data/v9.2/WhoAmI")
			}
		})
	}
	callers.Wait()
	close(answers)
	for a := range answers {
		if a.StatusCode != 200 {
			t.Fatalf("a caller got %d %s", a.StatusCode, a.body)
		}
	}
}

// Two tenants on one organization, by either of its names, and registration
// spend one budget, of whose numbers the stricter hold; what was learned is not
// lost between their calls.
func TestTwoTenantsOnOneOrganization(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ requests, hosts [2]string }{
		{[2]string{"50", "20"}, [2]string{"contoso.crm", "contoso.crm"}}, {[2]string{"20", "50"}, [2]string{"contoso.crm", "contoso.crm"}},
		{[2]string{"50", "20"}, [2]string{"contoso.crm", "contoso.api.crm"}}, {[2]string{"50", "20"}, [2]string{"contoso.api.crm", "contoso.crm"}},
	} {
		requests := x.requests
		gate := new(limits.Gate)
		c := newTestProxy(t,
			func(files map[string]string, _ *proxy.Parts) {
				files["contoso"] = "ORG_URL=https://" + x.hosts[0] + ".dynamics.com\nTENANT_ID=" + contosoID + "\nREQUESTS=" + requests[0] + "\nWINDOW=1h\nQUEUE_WAIT=0s"
			},
			tenant("other", "ORG_URL=https://"+x.hosts[1]+".dynamics.com\nTENANT_ID="+contosoID+"\nREQUESTS="+requests[1]+"\nWINDOW=1h\nQUEUE_WAIT=0s"),
			func(_ map[string]string, p *proxy.Parts) { p.Gate = gate })
		served := 0
		for range 20 {
			for _, tenant := range []string{"contoso", "other"} {
				switch a := c.get("/" + tenant + "/api/data/v9.2/WhoAmI"); a.StatusCode {
				case 200:
					served++
				case 429:
					if !strings.Contains(a.body, tenant+": the budget of requests is used up") {
						t.Errorf("the refusal says %s", a.body)
					}
				default:
					t.Fatalf("%d %s", a.StatusCode, a.body)
				}
			}
		}
		s := gate.Snapshot(limits.Key{Organization: "contoso.crm.dynamics.com", ClientID: clientID})
		if served != 20 || s.Requests.Limit != 20 || s.Requests.Used != 20 {
			t.Errorf("of %s, %s: %d calls were served, %v of %v used; want 20", requests, x.hosts, served, s.Requests.Used, s.Requests.Limit)
		}
	}
}

// Headers promise 8,000 where 600 are enforced, as in Microsoft's sample: an
// operator's own number is kept to, and no call is refused.
func TestAnOperatorsNumberOutranksWhatHeadersPromise(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "REQUESTS=60\nWINDOW=2s\nCONCURRENCY=8\nQUEUE_WAIT=60s"))
	c.contoso.SetLimits(emulator.Limits{Requests: 60, Window: 2 * time.Second, Concurrency: 8, Promised: 8000})
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for range 12 {
				if a := c.get("/contoso/api/data/v9.2/WhoAmI"); a.StatusCode != 200 {
					t.Errorf("a caller got %d %s", a.StatusCode, a.body)
				}
			}
		})
	}
	callers.Wait()
	if n := c.contoso.Answered(429); n > 0 {
		t.Errorf("the organization refused %d", n)
	}
}

// A closed gate is not told as a used-up budget.
func TestARefusalTellsWhatKeepsTheCallOut(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=0s"))
	c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Minute, Times: 1})
	c.get("/contoso/api/data/v9.2/WhoAmI")
	a := c.get("/contoso/api/data/v9.2/WhoAmI")
	a.refused(t, problem.LimitWaitExceeded, 429)
	if !strings.Contains(a.body, "asked to be left alone") || strings.Contains(a.body, "used up") {
		t.Errorf("told %s", a.body)
	}
}
