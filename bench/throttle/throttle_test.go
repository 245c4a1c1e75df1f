package main

import (
	"net/http"
	"testing"

	"dynproxy/internal/needs"
)

// Two windows' worth of requests at once, through the program as it is built:
// all are served, no caller sees a 429, and the organization has to refuse
// none. The same callers without the proxy run into it.
func TestNobodySeesA429(t *testing.T) {
	const n = 1300
	f, err := open(limits)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	direct, err := f.withoutProxy(n/4, obedient)
	if err != nil {
		t.Fatal(err)
	}
	if direct.served != n/4 || direct.seen == 0 || direct.refused != direct.seen {
		t.Errorf("without the proxy %+v: the limits do not bind, so the other half shows nothing", direct)
	}
	through, err := f.withProxies(n, 1, []string{"TENANT_REQUESTS=600", "TENANT_QUEUE_WAIT=60s"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if through.served != n || through.seen != 0 || through.refused != 0 {
		t.Errorf("through the proxy %+v, want %d served and no %d", through, n, http.StatusTooManyRequests)
	}
	if through.took < ideal(n, 600) {
		t.Errorf("%d requests within %v: the organization did not enforce its limits", n, through.took)
	}
}

// Three proxies that share a Redis spend one budget, however the callers are
// spread: all are served, no caller sees a 429, and the organization refuses none.
func TestThreeProxiesSpendOneBudget(t *testing.T) {
	needs.Tool(t, "Redis")
	needs.Long(t)
	s := scales["small"]
	f, err := open(s.limits)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	redis, err := f.redis()
	if err != nil {
		t.Fatal(err)
	}
	s.requests = 3*s.limits.Requests + 1
	for _, parts := range [][]int{{1, 1, 1}, {8, 1, 1}} {
		o, err := f.together(s, redis, parts)
		if err != nil {
			t.Fatal(err)
		}
		if o.served != s.requests || o.seen != 0 || o.refused != 0 || o.took < s.ideal() {
			t.Errorf("%v: %+v, want %d served, no %d, in no less than %v", parts, o, s.requests, http.StatusTooManyRequests, s.ideal())
		}
	}
}
