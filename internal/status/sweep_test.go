package status

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/needs"
	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

// dialled is a checker before a network that is not there, and when each
// organization was asked for.
type dialled struct {
	mu    sync.Mutex
	times map[string][]time.Time
	now   int // connections being made
	most  int
}

func (d *dialled) checker(takes time.Duration) *check.Checker {
	d.times = make(map[string][]time.Time)
	down := errors.New("down")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		d.mu.Lock()
		d.times[host] = append(d.times[host], time.Now())
		d.now++
		d.most = max(d.most, d.now)
		d.mu.Unlock()
		time.Sleep(takes)
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Err: down}
	}}
	unknown := func(context.Context, *tenants.Tenant) (string, string, error) { return "", "", down }
	return &check.Checker{
		Authority: unknown, Named: unknown, Organization: transport, Login: transport,
		Token:      func(context.Context, *tenants.Tenant) (string, error) { return "", down },
		Credential: func(*tenants.Tenant) (string, time.Time) { return "secret", time.Time{} },
		ClientID:   func(*tenants.Tenant) string { return "" },
		Advice:     func(error) (problem.Code, string, string) { return problem.UpstreamUnreachable, "down", "" },
	}
}

// swept runs the sweep for that long.
func swept(b *Board, d time.Duration) {
	ctx, end := context.WithCancel(context.Background())
	var sweep sync.WaitGroup
	sweep.Go(func() { b.Sweep(ctx) })
	time.Sleep(d)
	end()
	sweep.Wait()
	b.Close()
	time.Sleep(time.Minute) // connections that were given up
	synctest.Wait()
}

func manyNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, "t"+string(rune('a'+i/26%26))+string(rune('a'+i%26)))
	}
	return names
}

// Every tenant is looked at within the hour, none twice at the same moment, and
// not all at once.
func TestTheSweepSeesEveryTenantWithinTheHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := board(t, manyNames(500)...), &dialled{}
		b.Checker = d.checker(3 * time.Second)
		began := time.Now()
		swept(b, time.Hour)
		minutes := make(map[int]int)
		for _, name := range manyNames(500) {
			times := d.times[name+".crm.dynamics.com"]
			if len(times) == 0 {
				t.Fatalf("%s was not looked at", name)
			}
			minutes[int(times[0].Sub(began)/(10*time.Minute))]++
			// What is broken is looked at again sooner, within a thousandth of its budget.
			if n := len(times); n > 1+60/3 {
				t.Errorf("%s was looked at %d times", name, n)
			}
		}
		for ten := range 5 {
			if minutes[ten] < 30 {
				t.Errorf("not spread over the hour: %v", minutes)
			}
		}
		if d.most > sweepAtOnce {
			t.Errorf("%d at once", d.most)
		}
	})
}

// When all are down and each check takes long, all are seen within the hour too.
func TestTheSweepSeesThemAllWhenAllAreDown(t *testing.T) {
	needs.Long(t)
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("t%05d", i))
	}
	synctest.Test(t, func(t *testing.T) {
		b, d := board(t, names...), &dialled{}
		b.Checker = d.checker(5 * time.Second)
		swept(b, time.Hour)
		seen := 0
		for _, name := range names {
			if len(d.times[name+".crm.dynamics.com"]) > 0 {
				seen++
			}
		}
		if seen != len(names) || d.most > sweepAtOnce {
			t.Errorf("%d were seen, %d at once", seen, d.most)
		}
	})
}

// No tenant gives more than one request in a thousand to the sweep, whatever
// its budget.
func TestTheSweepTakesLittleOfABudget(t *testing.T) {
	for requests, most := range map[string]float64{"6000": 24 * 12 * 6, "100": 24 * 12 * .1, "10": 24 * 12 * .01} {
		synctest.Test(t, func(t *testing.T) {
			d := &dialled{}
			b := board(t, "contoso")
			hosts, _ := tenants.OrganizationHosts(nil)
			b.Tenants, _ = tenants.Open(map[string]string{"contoso": "https://contoso.crm.dynamics.com", "same": "https://contoso.crm.dynamics.com"}, "",
				&tenants.Rules{Organizations: hosts, Logins: tenants.AnyHost(), Defaults: map[string]string{"REQUESTS": requests}})
			b.Checker = d.checker(0)
			swept(b, 24*time.Hour)
			// Two tenants spend the budget of one organization.
			if got := float64(checkCosts * len(d.times["contoso.crm.dynamics.com"])); got > max(most, 2*checkCosts) {
				t.Errorf("REQUESTS=%s: %v requests a day, more than %v", requests, got, most)
			}
		})
	}
}

// What calls show is not looked at, nor what is busy, nor anything while
// draining.
func TestTheSweepLeavesAloneWhatIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := board(t, "busy", "called", "idle"), &dialled{}
		b.Checker = d.checker(0)
		b.Budget = func(one *tenants.Tenant) (Budget, []Share) {
			if one.Name == "busy" {
				return Budget{ClosedFor: 7}, nil
			}
			return Budget{}, nil
		}
		ctx, end := context.WithCancel(context.Background())
		var sweep sync.WaitGroup
		sweep.Go(func() { b.Sweep(ctx) })
		for range 3 * 60 {
			b.traffic.note(&Outcome{Tenant: "called"})
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if hosts := slices.Collect(maps.Keys(d.times)); !slices.Equal(hosts, []string{"idle.crm.dynamics.com"}) {
			t.Errorf("looked at %v", hosts)
		}
		before := len(d.times["idle.crm.dynamics.com"])
		b.Drain()
		time.Sleep(3 * time.Hour)
		if after := len(d.times["idle.crm.dynamics.com"]); after != before {
			t.Error("looked at while draining")
		}
		end()
		sweep.Wait()
		b.Close()
	})
}

// Calls that fail start a check, and no more than one in ten seconds.
func TestFailingCallsStartACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := board(t, "contoso"), &dialled{}
		b.Checker = d.checker(100 * time.Millisecond)
		for range 60 {
			b.OnCallDone(Outcome{Tenant: "contoso", Failure: "upstream_unreachable", Error: "upstream_unreachable", Status: 502})
			time.Sleep(500 * time.Millisecond)
			if b.State("contoso") != Broken {
				t.Fatal("within a second its state has not turned")
			}
		}
		synctest.Wait()
		if n := len(d.times["contoso.crm.dynamics.com"]); n < 3 || n > 4 {
			t.Errorf("%d checks in 30 seconds", n)
		}
		b.Close()
		synctest.Wait()
	})
}
