package entra_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
)

func TestColdCallersShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		h.inject(t, emulator.Fault{Kind: emulator.Slow, Delay: time.Second})
		if failed := together(h.source(0), 1000); failed > 0 || h.requests() != 1 {
			t.Errorf("%d failed, %d requests", failed, h.requests())
		}
		h.hosts.only(t, login)
	})
}

func TestCallersAtExpiryShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		token(t, h.source(0))
		time.Sleep(10 * time.Hour)
		before := h.requests()
		if failed := together(h.source(0), 1000); failed > 0 || h.requests() != before+1 {
			t.Errorf("%d failed, %d requests", failed, h.requests()-before)
		}
	})
}

func TestLeaderThatLeavesHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		h.inject(t, emulator.Fault{Kind: emulator.Slow, Delay: 2 * time.Second})
		leader, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := h.source(0).Token(leader)
			left <- err
		}()
		synctest.Wait()
		followers := make(chan int)
		go func() { followers <- together(h.source(0), 50) }()
		time.Sleep(100 * time.Millisecond)
		leave()
		if err := <-left; err != context.Canceled {
			t.Errorf("the leader got %v", err)
		}
		if failed := <-followers; failed > 0 || h.requests() != 1 {
			t.Errorf("%d followers failed, %d requests", failed, h.requests())
		}
	})
}

func TestNoCallWaitsAfterTheFirst(t *testing.T) {
	for name, c := range map[string]struct{ life, refreshIn, every, during, slow time.Duration }{
		"30 s of life, steady load": {30 * time.Second, 0, 100 * time.Millisecond, 10 * time.Minute, 2 * time.Second},
		"10 s of life":              {10 * time.Second, 0, 100 * time.Millisecond, 2 * time.Minute, time.Second / 2},
		"refresh_in":                {24 * time.Hour, 12 * time.Hour, time.Minute, 100 * time.Hour, 2 * time.Second},
		"a call now and then":       {time.Hour, 0, 47 * time.Minute, 60 * time.Hour, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, 1, entra.Registration{})
				h.Entra().SetTokenLife(c.life, c.refreshIn)
				h.inject(t, emulator.Fault{Kind: emulator.Slow, Delay: c.slow})
				s := h.source(0)
				token(t, s)
				for began := time.Now(); time.Since(began) < c.during; time.Sleep(c.every) {
					mustNotWait(t, s)
				}
				renewals := h.requests() - 1
				if most := int(c.during/(c.life/2)) + 1; renewals == 0 || renewals > most {
					t.Errorf("%d renewals, at most %d are called for", renewals, most)
				}
			})
		})
	}
}

func TestIdleTenantIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		token(t, h.source(0))
		time.Sleep(100 * time.Hour)
		if n := h.requests(); n > 2 {
			t.Errorf("%d requests for one call", n)
		}
	})
}

func TestDroppedTargetServesWhoHoldsItAndIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		s := h.source(0)
		h.cache.Retain(func(t entra.Target) bool { return t != h.target(0) })
		if token(t, s) == "" || h.source(0) == s {
			t.Error("the source was not replaced")
		}
		for range 50 {
			mustNotWait(t, s)
			time.Sleep(time.Minute)
		}
		if n := h.requests(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestOutageIsNotNoticedWhileTheTokenIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		s := h.source(0)
		end := time.Unix(claimsOf(t, token(t, s)).Expires, 0)
		h.inject(t, emulator.Fault{Kind: emulator.Down})
		for time.Until(end) > 6*time.Second {
			mustNotWait(t, s)
			time.Sleep(time.Second)
		}
		during := h.requests()
		time.Sleep(time.Until(end))

		e := refusal(t, s, entra.Transient)
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			e = refusal(t, s, entra.Transient)
			if e.RetryAfter < time.Second || e.RetryAfter > time.Minute {
				t.Fatalf("try again in %v", e.RetryAfter)
			}
		}
		if n := h.requests() - during; n > 600 { // three requests each try, a try every four seconds
			t.Errorf("%d tries in ten minutes", n)
		}
		h.Entra().Heal()
		time.Sleep(e.RetryAfter)
		token(t, s)
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for name, f := range map[string]emulator.Fault{
		"named":     {Kind: emulator.Status, Status: http.StatusTooManyRequests, RetryAfter: time.Minute, Times: 1},
		"not named": {Kind: emulator.Status, Status: http.StatusTooManyRequests, Times: 1},
		"in JSON":   {Kind: emulator.AADSTS, Number: 90055, RetryAfter: time.Minute, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, 1, entra.Registration{})
				h.inject(t, f)
				s := h.source(0)
				for began := time.Now(); time.Since(began) < 59*time.Second; time.Sleep(time.Second) {
					e := refusal(t, s, entra.Transient)
					if announced := time.Since(began) + e.RetryAfter; announced < 59*time.Second || announced > 62*time.Second {
						t.Fatalf("try again at %v", announced)
					}
				}
				if n := h.requests(); n != 1 {
					t.Errorf("%d requests", n)
				}
				time.Sleep(3 * time.Second)
				token(t, s)
			})
		})
	}
}

func TestMissingConsentIsRememberedUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		tenant := h.target(0).TenantID
		h.Entra().RevokeConsent(tenant, clientID)
		s := h.source(0)
		if failed := together(s, 1000); failed != 1000 || h.requests() != 1 {
			t.Errorf("%d failed, %d requests", failed, h.requests())
		}
		if e := refusal(t, s, entra.Consent); e.RetryAfter > time.Minute || e.TraceID == "" || e.CorrelationID == "" {
			t.Errorf("%+v", e)
		}
		h.Entra().Consent(tenant, clientID)
		refusal(t, s, entra.Consent)
		s.Retry()
		token(t, s)
	})
}

func TestConsentIsFoundWithinAMinuteWithoutReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		tenant := h.target(0).TenantID
		h.Entra().RevokeConsent(tenant, clientID)
		refusal(t, h.source(0), entra.Consent)
		h.Entra().Consent(tenant, clientID)
		time.Sleep(time.Minute)
		token(t, h.source(0))
	})
}

func TestResetOvertakesAMintUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mints := 0
		cache := &entra.Cache{Mint: func(context.Context, entra.Target, string) (entra.Token, error) {
			mints++
			time.Sleep(time.Second)
			if mints == 1 {
				return entra.Token{}, &entra.Error{Class: entra.Consent, Reason: "not yet"}
			}
			return entra.Token{Header: "Bearer x", Expires: time.Now().Add(time.Hour)}, nil
		}}
		defer cache.Close()
		s := cache.Source(entra.Target{TenantID: "a"})
		time.AfterFunc(time.Second/2, s.Retry)
		if header := token(t, s); header != "Bearer x" || mints != 2 {
			t.Errorf("%q after %d mints", header, mints)
		}
	})
}

func TestCloseEndsMintsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &entra.Cache{Mint: func(ctx context.Context, _ entra.Target, _ string) (entra.Token, error) {
			<-ctx.Done()
			return entra.Token{}, ctx.Err()
		}}
		s := cache.Source(entra.Target{TenantID: "a"})
		done := make(chan int)
		go func() { done <- together(s, 10) }()
		synctest.Wait()
		began := time.Now()
		cache.Close()
		if failed := <-done; failed != 10 || time.Since(began) > 0 {
			t.Errorf("%d failed after %v", failed, time.Since(began))
		}
		refusal(t, s, entra.Transient)
	})
}

// Each call gets the token of its own tenant and organization, whatever the
// order and whatever goes wrong.
// After an outage a tenant in use is tried again within five seconds, however
// long the outage was; and a success of one ends the waiting of the others.
func TestAnOutageIsOverWithinSeconds(t *testing.T) {
	for _, fault := range []emulator.Fault{{Kind: emulator.Down}, {Kind: emulator.Status, Status: 503}, {Kind: emulator.HTML}} {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, 20, entra.Registration{})
			h.inject(t, fault)
			for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(500 * time.Millisecond) {
				for i := range 20 {
					refusal(t, h.source(i), entra.Transient)
				}
			}
			h.Entra().Heal()
			back := time.Now()
			for i := range 20 {
				for {
					if _, err := h.source(i).Token(t.Context()); err == nil {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
			if late := time.Since(back); late > 5*time.Second {
				t.Errorf("%v: the last was served after %v", fault, late)
			}
		})
	}
}

func TestOneSuccessEndsTheOutageOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		cache := &entra.Cache{Mint: func(_ context.Context, target entra.Target, _ string) (entra.Token, error) {
			if target.TenantID == "throttled" {
				return entra.Token{}, &entra.Error{Class: entra.Transient, RetryAfter: time.Minute, Reason: "throttled"}
			}
			if down {
				return entra.Token{}, &entra.Error{Class: entra.Transient, Reason: "down"}
			}
			return entra.Token{Header: "Bearer x", Expires: time.Now().Add(time.Hour)}, nil
		}}
		defer cache.Close()
		var all []*entra.Source
		for i := range 50 {
			all = append(all, cache.Source(entra.Target{Login: login, TenantID: fmt.Sprint(i)}))
		}
		throttled := cache.Source(entra.Target{Login: login, TenantID: "throttled"})
		refusal(t, throttled, entra.Transient)
		for range 4 { // so that the wait has grown
			for _, s := range all {
				refusal(t, s, entra.Transient)
			}
			time.Sleep(4 * time.Second)
		}
		for _, s := range all {
			refusal(t, s, entra.Transient)
		}
		down = false
		token(t, cache.Source(entra.Target{Login: login, TenantID: "fresh"}))
		for _, s := range all {
			token(t, s)
		}
		if e := refusal(t, throttled, entra.Transient); e.RetryAfter < 30*time.Second {
			t.Errorf("what Entra ID asked for was forgotten: %v", e)
		}
	})
}

// Many tokens that are still good are renewed after an outage at a pace that
// leaves room: who has none yet does not wait behind them.
func TestAfterAnOutageCallersComeBeforeRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 600
		down, mints := false, 0
		var mu sync.Mutex
		m, target := minting(t, server(func(*http.Request) (int, http.Header, string) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return 503, nil, ""
			}
			mints++
			return 200, nil, strings.Replace(good, "3599", "600", 1)
		}))
		cache := &entra.Cache{Mint: m.Token}
		defer cache.Close()
		source := func(i int) *entra.Source {
			one := target
			one.Resource = fmt.Sprintf("https://org%d.crm.dynamics.com", i)
			return cache.Source(one)
		}
		began := time.Now()
		for i := range many {
			token(t, source(i))
		}
		mu.Lock()
		down = true
		mu.Unlock()
		time.Sleep(time.Until(began.Add(470 * time.Second))) // all wanted to be renewed by then
		mu.Lock()
		down, mints = false, 0
		mu.Unlock()
		for i := range 20 {
			asked := time.Now()
			token(t, source(many+i))
			if took := time.Since(asked); took > 2*time.Second {
				t.Errorf("call %d waited for %v", i, took)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Until(began.Add(590 * time.Second)))
		if mu.Lock(); mints < many {
			t.Errorf("%d of %d tokens were renewed before their end", mints, many)
		}
		mu.Unlock()
	})
}

func TestEachTargetGetsItsOwnToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tenants, workers, calls = 50, 20, 500
		h := open(t, tenants, entra.Registration{})
		h.Entra().SetTokenLife(20*time.Second, 0)
		var wg sync.WaitGroup
		for worker := range workers {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			wg.Go(func() {
				for range calls {
					i := random.IntN(tenants)
					s := h.source(i)
					header, err := s.Token(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					c := claimsOf(t, header)
					if c.Tenant != h.target(i).TenantID || c.Audience != h.target(i).Resource {
						t.Errorf("org%d got a token of %s for %s", i, c.Tenant, c.Audience)
					}
					switch random.IntN(100) {
					case 0:
						s.Refused(header, "")
					case 1:
						h.cache.Retain(func(t entra.Target) bool { return t != h.target(i) })
					case 2:
						time.Sleep(time.Second)
					}
				}
			})
		}
		wg.Wait()
	})
}

// Targets that differ in any field have nothing in common.
func TestTargetsShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &entra.Cache{Mint: func(_ context.Context, target entra.Target, _ string) (entra.Token, error) {
			return entra.Token{Header: fmt.Sprint(target), Expires: time.Now().Add(time.Hour)}, nil
		}}
		defer cache.Close()
		for range 2 {
			for bits := range 1 << 5 {
				pick := func(bit int) string { return []string{"a", "b"}[bits>>bit&1] }
				target := entra.Target{Login: pick(0), TenantID: pick(1), ClientID: pick(2), Resource: pick(3), Credential: pick(4)}
				if header := token(t, cache.Source(target)); header != fmt.Sprint(target) {
					t.Errorf("%v got the token of %s", target, header)
				}
			}
		}
	})
}
