package entra_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
)

func TestRefusedTokenIsRenewedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		s := h.source(0)
		old := token(t, s)
		h.inject(t, emulator.Fault{Kind: emulator.Slow, Delay: time.Second})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond) // some come during the mint, some after
				if !s.Refused(old, "") {
					t.Error("no other token is to be had")
				}
				if header, err := s.Token(t.Context()); err != nil || header == old {
					t.Errorf("the refused token once more (%v)", err)
				}
			})
		}
		wg.Wait()
		if n := h.requests(); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestOrganizationThatAlwaysRefusesIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		s := h.source(0)
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			s.Refused(token(t, s), "")
		}
		if n := h.requests(); n < 10 || n > 20 {
			t.Errorf("%d requests in ten minutes", n)
		}
		s.Refused(token(t, s), "")
		if s.Refused(token(t, s), "") {
			t.Error("a renewal was promised too soon after another")
		}
		time.Sleep(5 * time.Minute) // and is forgiven
		old := token(t, s)
		if !s.Refused(old, "") || token(t, s) == old {
			t.Error("no renewal after a while without refusals")
		}
		time.Sleep(4 * time.Second)
		if old = token(t, s); !s.Refused(old, "") || token(t, s) == old {
			t.Error("the floor did not go back")
		}
	})
}

func TestRefusedTokenKeepsTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		h.Entra().SetTokenLife(time.Hour, 10*time.Minute)
		s := h.source(0)
		token(t, s)
		h.inject(t, emulator.Fault{Kind: emulator.AADSTS, Number: 90055, RetryAfter: time.Minute, Times: 1})
		time.Sleep(10*time.Minute + 10*time.Second) // the renewal was throttled
		old := mustNotWait(t, s)
		s.Refused(old, "")
		if e := refusal(t, s, entra.Transient); e.RetryAfter < 40*time.Second || h.requests() != 2 {
			t.Errorf("again in %v, %d requests", e.RetryAfter, h.requests())
		}
		time.Sleep(time.Minute)
		if token(t, s) == old {
			t.Error("the refused token once more")
		}
	})
}

// claimed is a Mint that writes the claims into the token.
func claimed(mints *[]string) func(context.Context, entra.Target, string) (entra.Token, error) {
	return func(_ context.Context, _ entra.Target, claims string) (entra.Token, error) {
		*mints = append(*mints, claims) // one flight at a time
		time.Sleep(time.Second)
		return entra.Token{Header: fmt.Sprintf("Bearer %d%s", len(*mints), claims), Expires: time.Now().Add(time.Hour)}, nil
	}
}

func TestClaimsChallengeIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mints []string
		cache := &entra.Cache{Mint: claimed(&mints)}
		defer cache.Close()
		s := cache.Source(entra.Target{TenantID: "a"})
		old := token(t, s)
		for range 3 {
			if !s.Refused(old, "{nbf}") {
				t.Error("refused")
			}
		}
		if header := token(t, s); header != "Bearer 2{nbf}" {
			t.Errorf("%q", header)
		}
		s.Refused(old, "{nbf}") // who comes late
		if fmt.Sprint(mints) != "[ {nbf}]" {
			t.Errorf("mints %q", mints)
		}
	})
}

func TestClaimsDuringAPlainMintGetOneOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mints []string
		cache := &entra.Cache{Mint: claimed(&mints)}
		defer cache.Close()
		s := cache.Source(entra.Target{TenantID: "a"})
		old := token(t, s)
		s.Refused(old, "")
		time.Sleep(100 * time.Millisecond)
		s.Refused(old, "{nbf}")
		if header := token(t, s); header != "Bearer 3{nbf}" {
			t.Errorf("%q", header)
		}
	})
}

func TestClaimsOutliveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mints []string
		mint, down := claimed(&mints), false
		cache := &entra.Cache{Mint: func(ctx context.Context, target entra.Target, claims string) (entra.Token, error) {
			if down {
				return entra.Token{}, &entra.Error{Class: entra.Transient, Reason: "down"}
			}
			return mint(ctx, target, claims)
		}}
		defer cache.Close()
		s := cache.Source(entra.Target{TenantID: "a"})
		old := token(t, s)
		down = true
		s.Refused(old, "{nbf}")
		e := refusal(t, s, entra.Transient)
		down = false
		time.Sleep(e.RetryAfter)
		if header := token(t, s); header != "Bearer 2{nbf}" {
			t.Errorf("%q", header)
		}
	})
}

// The emulator's Entra ID puts what is asked into the token, so that the whole
// way through MSAL is seen.
func TestClaimsReachEntra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		const claims = `{"access_token":{"nbf":{"essential":true,"value":"946684900"}}}`
		if err := h.Organization("org0").Inject(emulator.Fault{Kind: emulator.Claims, Claims: claims}); err != nil {
			t.Fatal(err)
		}
		s := h.source(0)
		old := token(t, s)
		if status := h.whoAmI(t, old); status != 401 {
			t.Fatalf("the organization answers %d", status)
		}
		s.Refused(old, claims)
		if status := h.whoAmI(t, token(t, s)); status == 401 {
			t.Error("the challenge was not answered")
		}
	})
}
