package emulator_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
)

// bubble runs a test against an emulator with these limits on a fake clock.
func bubble(t *testing.T, l emulator.Limits, test func(t *testing.T, h *harness, tok string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := seed()
		s.Limits = l
		s.TokenLife = 24 * time.Hour
		h := open(t, s)
		test(t, h, h.token(t, login, tenantID, contoso))
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func retryAfter(t *testing.T, r reply) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil {
		t.Fatalf("Retry-After %q of %d %s", r.Header.Get("Retry-After"), r.StatusCode, r.body)
	}
	return time.Duration(n) * time.Second
}

func TestRequestsWindowIsExact(t *testing.T) {
	bubble(t, emulator.Limits{Requests: 10, Window: 30 * time.Second}, func(t *testing.T, h *harness, tok string) {
		// One every second: the eleventh is refused, until the first leaves.
		for i := range 10 {
			got := h.call(t, whoAmI, tok)
			if got.StatusCode != 200 || got.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests") != strconv.Itoa(9-i) {
				t.Fatalf("request %d: %d, %v", i, got.StatusCode, got.Header)
			}
			time.Sleep(time.Second)
		}
		got := h.call(t, whoAmI, tok)
		if got.StatusCode != 429 || got.errorCode() != "0x80072322" ||
			!strings.Contains(got.body, "Number of requests exceeded the limit of 10 over time window of 30 seconds.") {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		if d := retryAfter(t, got); d != 20*time.Second {
			t.Errorf("Retry-After %v, and the first leaves in 20s", d)
		}
		time.Sleep(20 * time.Second)
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
			t.Errorf("after the wait: %d", got.StatusCode)
		}
		// The refused one was not counted: only the place of the first was free.
		if got := h.call(t, whoAmI, tok); got.StatusCode != 429 || retryAfter(t, got) != time.Second {
			t.Errorf("%d, Retry-After %s", got.StatusCode, got.Header.Get("Retry-After"))
		}
	})
}

func TestRetryAfterGrowsWhenIgnored(t *testing.T) {
	bubble(t, emulator.Limits{Requests: 1, Window: 300 * time.Second}, func(t *testing.T, h *harness, tok string) {
		h.call(t, whoAmI, tok)
		var left []time.Duration // until the told moment, seen from the first refusal
		start := time.Now()
		for range 30 {
			got := h.call(t, whoAmI, tok)
			left = append(left, time.Since(start)+retryAfter(t, got))
			time.Sleep(2 * time.Second)
		}
		if left[0] != 300*time.Second || left[29] < 320*time.Second {
			t.Errorf("told to come back at %v, in the end at %v", left[0], left[29])
		}
		for i := range 29 {
			if left[i+1] < left[i] {
				t.Errorf("refusal %d shortened the wait: %v", i+1, left)
			}
		}
		time.Sleep(left[29])
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
			t.Errorf("after the wait: %d", got.StatusCode)
		}
		if got := h.call(t, whoAmI, tok); retryAfter(t, got) != 300*time.Second {
			t.Errorf("who waited starts anew: %s", got.Header.Get("Retry-After"))
		}
	})
}

func TestExecutionTime(t *testing.T) {
	bubble(t, emulator.Limits{ExecutionTime: 20 * time.Minute, Window: 5 * time.Minute, MinExecution: 5 * time.Minute}, func(t *testing.T, h *harness, tok string) {
		for i, want := range []string{"1,200.00", "900.00", "600.00", "300.00"} {
			got := h.call(t, whoAmI, tok)
			if got.StatusCode != 200 || got.Header.Get("X-Ms-Ratelimit-Time-Remaining-Xrm-Requests") != want {
				t.Fatalf("request %d: %d, %v", i, got.StatusCode, got.Header)
			}
			time.Sleep(time.Second)
		}
		got := h.call(t, whoAmI, tok)
		if got.StatusCode != 429 || got.errorCode() != "0x80072321" ||
			!strings.Contains(got.body, "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds.") {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		time.Sleep(retryAfter(t, got))
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
			t.Errorf("after the wait: %d", got.StatusCode)
		}
	})
}

func TestSlowRequestsCostExecutionTime(t *testing.T) {
	bubble(t, emulator.Limits{ExecutionTime: 3 * time.Second, Window: time.Minute}, func(t *testing.T, h *harness, tok string) {
		inject(t, h.Organization("contoso"), emulator.Fault{Kind: emulator.Slow, Delay: 4 * time.Second, Times: 1})
		h.call(t, whoAmI, tok)
		if got := h.call(t, whoAmI, tok); got.StatusCode != 429 || retryAfter(t, got) != time.Minute {
			t.Errorf("%d, Retry-After %s", got.StatusCode, got.Header.Get("Retry-After"))
		}
	})
}

func TestConcurrencyIsRefusedAtOnce(t *testing.T) {
	bubble(t, emulator.Limits{Concurrency: 3}, func(t *testing.T, h *harness, tok string) {
		inject(t, h.Organization("contoso"), emulator.Fault{Kind: emulator.Slow, Delay: 10 * time.Second, Times: 3})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
					t.Errorf("one of three: %d", got.StatusCode)
				}
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		got := h.call(t, whoAmI, tok)
		if got.StatusCode != 429 || got.errorCode() != "0x80072326" || retryAfter(t, got) != time.Second ||
			!strings.Contains(got.body, "Number of concurrent requests exceeded the limit of 3.") || time.Since(start) != 0 {
			t.Errorf("the fourth: %d %s after %v", got.StatusCode, got.body, time.Since(start))
		}
		wg.Wait()
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
			t.Errorf("after the three: %d", got.StatusCode)
		}
	})
}

// TestPlaceIsFreeWhenTheAnswerEnds is what lets a client use the whole of the
// concurrency: its next request may follow the end of an answer at once.
func TestPlaceIsFreeWhenTheAnswerEnds(t *testing.T) {
	s := seed()
	s.Limits = emulator.Limits{Concurrency: 2}
	h := open(t, s)
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	tr := trusting(t, h.CA())
	tr.ForceAttemptHTTP2 = false
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	tr.MaxIdleConnsPerHost = 2
	h.client.Transport = tr
	tok := h.token(t, "https://"+h.LoginHost(), tenantID, h.OrgURL("contoso"))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				for _, path := range []string{"/api/data/v9.2/WhoAmI", "/api/data/v9.2/accounts"} {
					if got := h.call(t, h.OrgURL("contoso")+path, tok); got.StatusCode != 200 {
						t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestEachUserAndServerHasItsOwnBudget(t *testing.T) {
	const second = "66666666-6666-4666-8666-666666666666"
	synctest.Test(t, func(t *testing.T) {
		s := seed()
		s.Limits = emulator.Limits{Requests: 2, Window: time.Minute, Servers: 2}
		s.Apps = append(s.Apps, emulator.App{ClientID: second, Secrets: []string{secret}})
		s.Organizations[0].Consented = append(s.Organizations[0].Consented, second)
		s.Organizations[0].ApplicationUsers = append(s.Organizations[0].ApplicationUsers, second)
		h := open(t, s)
		tok := h.token(t, login, tenantID, contoso)
		first := h.call(t, whoAmI, tok)
		cookie := first.Cookies()[0].Name + "=" + first.Cookies()[0].Value
		if got := h.call(t, whoAmI, tok, "Cookie", cookie); got.StatusCode != 200 {
			t.Errorf("second on the same server: %d", got.StatusCode)
		}
		if got := h.call(t, whoAmI, tok, "Cookie", cookie); got.StatusCode != 429 {
			t.Errorf("third on the same server: %d", got.StatusCode)
		}
		// Without the cookie the servers take turns, and the other is unused.
		codes := map[int]int{}
		for range 4 {
			codes[h.call(t, whoAmI, tok).StatusCode]++
		}
		if codes[200] != 2 || codes[429] != 2 {
			t.Errorf("without affinity: %v", codes)
		}
		form := appForm(contoso)
		form.Set("client_id", second)
		answer := h.ask(t, login, tenantID, form)
		other := strings.Split(strings.Split(answer.body, `"access_token":"`)[1], `"`)[0]
		if got := h.call(t, whoAmI, other, "Cookie", cookie); got.StatusCode != 200 {
			t.Errorf("another application user: %d", got.StatusCode)
		}
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSOAPIsThrottledByFault(t *testing.T) {
	bubble(t, emulator.Limits{Requests: 1, Window: time.Minute}, func(t *testing.T, h *harness, tok string) {
		h.call(t, whoAmI, tok)
		r := request(t, "POST", contoso+"/XRMServices/2011/Organization.svc/web?SDKClientVersion=9.2.0.0", "<Envelope/>", "Authorization", "Bearer "+tok)
		got := h.do(t, r)
		if got.StatusCode != http.StatusInternalServerError || got.Header.Get("Retry-After") != "" {
			t.Errorf("%d, Retry-After %q", got.StatusCode, got.Header.Get("Retry-After"))
		}
		for _, want := range []string{"<ErrorCode>-2147015902</ErrorCode>", ":key>Retry-After</", ">PT1M<", "Number of requests exceeded the limit of 1 over"} {
			if !strings.Contains(got.body, want) {
				t.Errorf("no %s in %s", want, got.body)
			}
		}
	})
}

func TestLimitsChangeOnTheFly(t *testing.T) {
	bubble(t, emulator.Limits{}, func(t *testing.T, h *harness, tok string) {
		for range 5 {
			got := h.call(t, whoAmI, tok)
			if got.StatusCode != 200 || got.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests") != "" || got.Header.Get("X-Ms-Dop-Hint") != "4" {
				t.Fatalf("without limits: %d %v", got.StatusCode, got.Header)
			}
			time.Sleep(time.Second)
		}
		h.Organization("contoso").SetLimits(emulator.Limits{Requests: 3, Window: time.Minute})
		// Three of the five must leave before there is room.
		if got := h.call(t, whoAmI, tok); got.StatusCode != 429 || retryAfter(t, got) != 57*time.Second {
			t.Errorf("%d, Retry-After %s", got.StatusCode, got.Header.Get("Retry-After"))
		}
		h.Organization("contoso").SetLimits(emulator.Limits{Requests: 6000, ExecutionTime: 20 * time.Minute, Window: 5 * time.Minute, Concurrency: 52})
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 || got.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests") != "5994" {
			t.Errorf("documented: %d %v", got.StatusCode, got.Header)
		}
	})
}

func TestOneTenantsBudgetIsNotAnothers(t *testing.T) {
	bubble(t, emulator.Limits{Requests: 1, Window: time.Minute}, func(t *testing.T, h *harness, tok string) {
		h.call(t, whoAmI, tok)
		tailspin := h.Organization("tailspin")
		tailspin.AddApplicationUser(clientID)
		other := h.token(t, login, tailspin.TenantID(), tailspin.URL())
		if got := h.call(t, tailspin.URL()+"/api/data/v9.2/WhoAmI", other); got.StatusCode != 200 {
			t.Errorf("status %d", got.StatusCode)
		}
	})
}

// TestWindowAgainstCountingByHand sends at uneven moments and compares each
// answer with a count of what was admitted in the window.
func TestWindowAgainstCountingByHand(t *testing.T) {
	const limit, window = 20, 10 * time.Second
	bubble(t, emulator.Limits{Requests: limit, Window: window}, func(t *testing.T, h *harness, tok string) {
		dice := rand.New(rand.NewPCG(1, 2))
		var admitted []time.Time
		refused := 0
		for i := range 2000 {
			time.Sleep(time.Duration(dice.ExpFloat64() * float64(400*time.Millisecond)))
			held := 0
			for _, at := range admitted {
				if time.Since(at) < window {
					held++
				}
			}
			got := h.call(t, whoAmI, tok)
			if (got.StatusCode == 200) != (held < limit) {
				t.Fatalf("request %d with %d in the window: %d", i, held, got.StatusCode)
			}
			if got.StatusCode == 200 {
				admitted = append(admitted, time.Now())
			} else {
				refused++
			}
		}
		if refused < 100 || len(admitted) < 1000 {
			t.Errorf("%d admitted, %d refused: the test is blind", len(admitted), refused)
		}
	})
}
