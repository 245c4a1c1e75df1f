package main

import (
	"net/http"
	"testing"
)

// Two windows' worth of requests at once, through the program as it is built:
// all are served, no caller sees a 429, and the organization has to refuse
// none. The same callers without the proxy run into it.
func TestNobodySeesA429(t *testing.T) {
	const n = 1300
	f, err := open()
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
