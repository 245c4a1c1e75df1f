package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/egress"
	"dynproxy/internal/secret"
	"dynproxy/internal/statedir"
)

// receiver is a webhook over TLS.
type receiver struct {
	*httptest.Server
	got    chan message
	mu     sync.Mutex
	answer http.HandlerFunc // nil for a good answer
}

const token = "t0ken-of-the-webhook"

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: make(chan message, 100)}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, req)
			return
		}
		var m message
		if err := json.Unmarshal(body, &m); err != nil || req.Method != http.MethodPost || req.URL.Query().Get("sig") != token {
			t.Errorf("%s %s: %v %s", req.Method, req.URL, err, body)
		}
		r.got <- m
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(with http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = with
}

func (r *receiver) address() secret.Text {
	return secret.New(r.URL + "/hook/" + token + "?sig=" + token)
}

// next is the next message.
func (r *receiver) next(t *testing.T) message {
	t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing comes")
		return message{}
	}
}

func (r *receiver) wire(t *testing.T) http.RoundTripper {
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	client := egress.New(egress.Config{
		Patience: egress.Patience{AnswerWithin: answerWithin, IdleWithin: answerWithin}, Roots: func() *x509.CertPool { return roots }, MayBePrivate: func(string) bool { return true },
	})
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// log is what a Notifier logs.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// run starts a Notifier; end is its restart's first half.
func (r *receiver) run(t *testing.T, root string) (n *Notifier, said *log, end func()) {
	t.Helper()
	said = new(log)
	dir := statedir.Open(root)
	n = Open(dir, r.address(), r.wire(t), zerolog.New(said))
	n.Host = "proxy-1"
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	end = func() {
		stop()
		running.Wait()
		n.Close()
		dir.Close()
	}
	t.Cleanup(end)
	return n, said, end
}

func breaks(tenant string) Notice {
	return Notice{Tenant: tenant, At: time.Now(), Kind: Broken, Code: "credential_rejected", Finding: "credential: the secret has expired", Next: "Make a new one in the app registration and set it."}
}

func TestABreakAndARecoveryAreTold(t *testing.T) {
	t.Parallel()
	r := receive(t)
	n, said, _ := r.run(t, "")
	began := time.Now()
	n.TenantIs(true, breaks("contoso"))
	m := r.next(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("told after %v", took)
	}
	if len(m.Events) != 1 || m.Events[0].Kind != Broken || m.Events[0].Tenant != "contoso" || m.Events[0].Code != "credential_rejected" || m.Host != "proxy-1" ||
		!strings.Contains(m.Text, "contoso is broken (credential_rejected): credential: the secret has expired. Next: Make a new one") {
		t.Errorf("%+v", m)
	}
	n.TenantIs(false, Notice{Tenant: "contoso", At: time.Now()})
	if m := r.next(t); m.Events[0].Kind != Recovered || m.Text != "contoso has recovered." {
		t.Errorf("%+v", m)
	}
	if text := said.String(); strings.Contains(text, token) {
		t.Error(text)
	}
}

// Five hundred tenants that break of one cause, within half a minute, are a few
// messages.
func TestManyAtOnceAreOneMessage(t *testing.T) {
	t.Parallel()
	r := receive(t)
	n, _, _ := r.run(t, "")
	for i := range 500 {
		n.TenantIs(true, breaks(fmt.Sprintf("t%03d", i)))
	}
	m := r.next(t)
	if !strings.Contains(m.Text, "500 tenants are broken (credential_rejected), such as t000: credential: the secret has expired.") || !strings.Contains(m.Text, "and 492 more.") || len(m.Events)+m.More != 500 || len(m.Text) > 1000 {
		t.Errorf("%d events and %d more, %.2000s", len(m.Events), m.More, m.Text)
	}
	for i := range 500 {
		n.TenantIs(false, Notice{Tenant: fmt.Sprintf("t%03d", i), At: time.Now()})
	}
	if m := r.next(t); !strings.Contains(m.Text, "500 tenants have recovered: t000") {
		t.Errorf("%.2000s", m.Text)
	}
}

// What a receiver misses is told when it answers again, as it is then; its wish
// to be left alone is heeded; and the log has nothing of its address.
func TestAReceiverThatFails(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		"429": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(429)
		}, "status 429"},
		"torn": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "the connection broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receive(t)
			n, said, _ := r.run(t, "")
			var mu sync.Mutex
			var times []time.Time
			r.answers(func(w http.ResponseWriter, req *http.Request) {
				mu.Lock()
				times = append(times, time.Now())
				mu.Unlock()
				x.answer(w, req)
			})
			n.TenantIs(true, breaks("contoso"))
			n.TenantIs(true, breaks("fabrikam"))
			tries := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(times)
			}
			for began := time.Now(); tries() < 2; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > 30*time.Second {
					t.Fatal("it is not tried again")
				}
			}
			if name == "429" && times[1].Sub(times[0]) < 2*time.Second {
				t.Error("Retry-After is not heeded")
			}
			n.TenantIs(false, Notice{Tenant: "fabrikam", At: time.Now()})
			r.answers(nil)
			m := r.next(t)
			for len(m.Events) == 2 { // the try under way as it recovered
				m = r.next(t)
			}
			if m.Events[0].Tenant == "contoso" && m.Events[0].Kind != Broken {
				t.Errorf("%+v", m)
			}
			text := said.String()
			if !strings.Contains(text, x.says) || strings.Contains(text, token) || strings.Count(text, `"level":"warn"`) != 1 {
				t.Errorf("%s", text)
			}
			for began := time.Now(); n.Failing() != ""; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > 30*time.Second {
					t.Fatalf("still failing: %s", n.Failing())
				}
			}
		})
	}
}

// One that hangs, and one that is gone, cost nobody anything but the notices.
func TestAReceiverThatHangsOrIsGone(t *testing.T) {
	t.Parallel()
	r := receive(t)
	hangs := make(chan struct{})
	asked := make(chan struct{}, 10)
	r.answers(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-hangs })
	n, said, end := r.run(t, "")
	n.TenantIs(true, breaks("contoso"))
	<-asked
	for range 5000 {
		began := time.Now()
		n.Newcomer("99999999-9999-4999-8999-999999999999", "192.0.2.1")
		n.TenantIs(false, Notice{Tenant: "fabrikam", At: time.Now()})
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("a notice waited %v", took)
		}
	}
	end()
	close(hangs)
	if strings.Contains(said.String(), token) {
		t.Error(said)
	}
	r.Close()
	n, said, _ = r.run(t, "")
	n.TenantIs(true, breaks("contoso"))
	for began := time.Now(); n.Failing() == ""; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("nobody notices")
		}
	}
	if !strings.Contains(said.String(), "nothing listens there") || strings.Contains(said.String(), token) {
		t.Error(said)
	}
}

// What was told is not told again after a restart; what has changed is.
func TestNothingIsToldTwice(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := receive(t)
	n, _, end := r.run(t, root)
	in := func(days int) time.Time { return time.Now().Add(time.Duration(days)*day - time.Hour) }
	ends := []End{{Subject: "the secret of app registration app-1", At: in(6)}, {Subject: "the certificate of LISTEN", At: in(90)}, {Subject: "the certificate of OPS_LISTEN", At: in(1)}}
	n.TenantIs(true, breaks("contoso"))
	n.TenantIs(true, breaks("fabrikam"))
	r.next(t)
	n.Remind(ends, time.Now())
	m := r.next(t)
	if !strings.Contains(m.Text, "the secret of app registration app-1 ends in 6 days") || !strings.Contains(m.Text, "the certificate of OPS_LISTEN ends within a day") || len(m.Events) != 2 {
		t.Errorf("%+v", m)
	}
	n.Remind(ends, time.Now().Add(time.Hour))
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // it has the answer a moment after the receiver has given it
		n.mu.Lock()
		noted := len(n.marks)
		n.mu.Unlock()
		if noted == 2 {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("it is not noted")
		}
	}
	end()

	n, _, _ = r.run(t, root)
	n.Remind(ends, time.Now())
	n.TenantIs(true, breaks("contoso")) // as it was told
	n.TenantIs(false, Notice{Tenant: "fabrikam", At: time.Now()})
	if m := r.next(t); m.Text != "fabrikam has recovered." {
		t.Errorf("%+v", m)
	}
	n.Remind(ends, time.Now().Add(4*day)) // the next reminder
	if m := r.next(t); !strings.Contains(m.Text, "app-1 ends in 2 days") || len(m.Events) != 1 {
		t.Errorf("%+v", m)
	}
	n.Retain(func(tenant string) bool { return tenant != "contoso" })
	n.TenantIs(false, Notice{Tenant: "contoso", At: time.Now()}) // not one that was told of
	n.ConsentGiven("northwind")
	if m := r.next(t); m.Text != "The administrator of northwind has granted access, and a token proves it." {
		t.Errorf("%+v", m)
	}
}

// News that nobody is told, or that cannot be told yet, keep nothing running.
func TestNewsThatWaitCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := Open(statedir.Open(""), secret.Text{}, nil, zerolog.Nop())
		defer n.Close()
		n.TenantIs(true, breaks("contoso"))
		n.ConsentGiven("fabrikam")
		time.Sleep(time.Hour)
		if wait := n.wait(time.Now()); wait != lookAtLeast {
			t.Errorf("without an address the next look is in %v", wait)
		}
		n.SetURL(secret.New("https://hook.example.com/"))
		if wait := n.wait(time.Now()); wait != lookAtMost {
			t.Errorf("with one, it is in %v", wait)
		}
		n.rest(0, "no answer")
		if wait := n.wait(time.Now()); wait < time.Second {
			t.Errorf("behind a failure, it is in %v", wait)
		}
	})
}

func TestNobodyIsToldWithoutAnAddress(t *testing.T) {
	t.Parallel()
	r := receive(t)
	n, _, _ := r.run(t, "")
	n.SetURL(secret.Text{})
	for range 2 * mostPending {
		n.ConsentGiven("contoso")
	}
	n.TenantIs(true, breaks("contoso"))
	n.SetURL(r.address()) // set while running: what is the matter now is told
	if m := r.next(t); len(m.Events) != 1 || m.Events[0].Kind != Broken {
		t.Errorf("%+v", m)
	}
}

// A receiver is left alone for as long as it asks, within bounds; and that it
// takes notices again is told, once.
func TestAReceiverIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	t.Parallel()
	r, said := receive(t), new(log)
	n := Open(statedir.Open(""), r.address(), r.wire(t), zerolog.New(said)) // which nobody runs
	for asks, want := range map[string]time.Duration{"0": restFirst, "120": 2 * time.Minute, "86400": restTold, "": 0} {
		r.answers(func(w http.ResponseWriter, _ *http.Request) {
			if asks != "" {
				w.Header().Set("Retry-After", asks)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		if wait, why := n.post(t.Context(), r.address(), message{}); wait != want || !strings.Contains(why, "503") {
			t.Errorf("%q: %v, %s", asks, wait, why)
		}
	}
	n.rest(0, "it answers with status 503")
	n.isTold(nil, 0, 0)
	n.isTold(nil, 0, 0)
	if text := said.String(); strings.Count(text, "reach NOTIFY_URL again") != 1 || strings.Count(text, "do not reach") != 1 {
		t.Error(text)
	}
}
