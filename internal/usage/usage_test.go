package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/statedir"
)

func open(t *testing.T, root string) (u *Usage, end func()) {
	t.Helper()
	d := statedir.Open(root)
	u = Open(d)
	end = func() { u.Close(); d.Close() }
	t.Cleanup(end)
	return u, end
}

const accounts = "/api/data/v9.2/accounts"

// of is what rows say of one caller, in short.
func of(u *Usage, caller string) string {
	var all []string
	for _, r := range u.Rows(Question{Caller: caller, Since: time.Now().Add(-longest)}) {
		all = append(all, fmt.Sprintf("%s %s%s %d %d %d", r.Tenant, r.Service, r.Version, r.Requests, r.Operations, r.Errors))
	}
	return strings.Join(all, ", ")
}

func TestServices(t *testing.T) {
	for path, want := range map[string]string{
		"/api/data/v9.2/accounts": "webapi v9.2", "/API/Data/V9.0": "webapi v9.0", "/api/data/v8.2/$batch": "webapi v8.2 retired",
		"/api/data/v8.0/": "webapi v8.0 retired", "/api/data/v7.0/": "webapi other", "/api/data/v9.99/": "webapi other", "/api/data/accounts": "webapi other",
		"/api/data/v9.2x": "webapi other", "/api/data/": "webapi other", "/api/search/v1.0/query": "search v1.0", "/api/search/v2.0/query": "search v2.0", "/api/search/v9.0/query": "search other",
		"/XRMServices/2011/Organization.svc/web": "soap2011 ", "/xrmservices/2011/organization.svc": "soap2011 ", "/XRMServices/2011/OrganizationData.svc/AccountSet": "odata2011  retired",
		"/XRMServices/2011/OrganizationData.svc(guid)": "odata2011  retired", "/XRMServices/2011/OrganizationX.svc": "other ", "/XRMServices/2011/Organization.svcx": "other ",
		"/main.aspx": "other ", "": "other ", "/": "other ", "/api/dat": "other ",
	} {
		s, version := serviceOf(path)
		got := string(s) + " " + version
		if withdrawn, next := retired(s, version); withdrawn {
			got += " retired"
			if next == "" {
				t.Errorf("%s: nothing to move to", path)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestCallsAreCountedAndSurviveAKill(t *testing.T) {
	root := t.TempDir()
	u, _ := open(t, root)
	for i := range 10 {
		u.Count(&Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 3, Failed: i == 0, At: time.Now()})
	}
	u.Count(&Call{Tenant: "contoso", Caller: "webform", Path: "/XRMServices/2011/OrganizationData.svc", Failed: true, At: time.Now()})
	u.Keep()
	u.Count(&Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()}) // the last seconds are lost
	const want = "contoso odata2011 1 0 1, contoso webapiv9.2 10 30 1"
	// A process that is killed closes nothing; what it has written is in its file.
	killed := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(killed, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	again, end := open(t, killed)
	if got := of(again, "webform"); got != want {
		t.Errorf("%s", got)
	}
	again.Count(&Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()})
	again.Keep()
	again.Count(&Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()})
	end()
	again, _ = open(t, killed)
	if got := of(again, "webform"); got != "contoso odata2011 1 0 1, contoso webapiv9.2 12 32 1" {
		t.Errorf("%s", got)
	}
}

// Processes that share a directory, one after the other and side by side, count
// together.
func TestProcessesCountTogether(t *testing.T) {
	root := t.TempDir()
	call := &Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()}
	a, endA := open(t, root)
	b, endB := open(t, root)
	for range 3 {
		a.Count(call)
		b.Count(call)
	}
	a.Keep()
	b.Keep()
	for _, u := range []*Usage{a, b} {
		if got := of(u, ""); got != "contoso webapiv9.2 6 6 0" {
			t.Errorf("%s", got)
		}
	}
	endA()
	c, _ := open(t, root)
	c.Count(call)
	c.Keep()
	if got := of(b, ""); got != "contoso webapiv9.2 7 7 0" {
		t.Errorf("%s", got)
	}
	endB()
	if got := of(c, ""); got != "contoso webapiv9.2 7 7 0" {
		t.Errorf("%s", got)
	}
	// A tenant that is gone is forgotten, whoever has counted it.
	c.Retain(func(string) bool { return false })
	if got := of(c, ""); got != "" {
		t.Errorf("%s", got)
	}
	c.Keep()
	c.Close()
	text, err := os.ReadFile(filepath.Join(root, "process-1", "usage.jsonl"))
	if err != nil || len(text) > 0 {
		t.Errorf("%v %s", err, text)
	}
	d, _ := open(t, root)
	if got := of(d, ""); got != "" {
		t.Errorf("%s", got)
	}
}

func TestWhatIsMadeUpMakesNoRowsWithoutEnd(t *testing.T) {
	u, _ := open(t, "")
	for i := range 5000 {
		u.Count(&Call{Tenant: "contoso", Caller: fmt.Sprintf("2001:db8::%x", i), Path: fmt.Sprintf("/api/data/v%d.%d/x%d", i/100, i%100, i), At: time.Now()})
	}
	all := u.Rows(Question{})
	var requests int64
	for _, r := range all {
		requests += r.Requests
	}
	if len(all) > mostOfOne+30 || requests != 5000 {
		t.Errorf("%d rows of %d requests", len(all), requests)
	}
}

// Hours become days, and days are forgotten, on disk too.
func TestHoursBecomeDays(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := statedir.Open(root)
		u := Open(d)
		for i := range 40 * 24 {
			u.Count(&Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 2, At: time.Now()})
			if i%6 == 0 {
				u.Keep()
			}
			time.Sleep(time.Hour)
		}
		hours, days := u.Rows(Question{By: "hour", Since: time.Now().Add(-24 * time.Hour)}), u.Rows(Question{By: "day", Since: time.Now().Add(-longest)})
		if len(hours) < 23 || len(hours) > 25 || hours[3].Requests != 1 || len(days) < 30 || len(days) > 33 || days[5].Requests != 24 || days[5].Operations != 48 {
			t.Errorf("%d hours, %d days: %+v", len(hours), len(days), days)
		}
		u.Close()
		d.Close()
		d = statedir.Open(root)
		defer d.Close()
		again := Open(d)
		defer again.Close()
		if after := again.Rows(Question{By: "day", Since: time.Now().Add(-longest)}); fmt.Sprint(after) != fmt.Sprint(days) {
			t.Errorf("after a restart:\n%v\n%v", after, days)
		}
	})
	if info, err := os.Stat(filepath.Join(root, "process-0", "usage.jsonl")); err != nil || info.Size() > 200<<10 {
		t.Errorf("%v %d bytes", err, info.Size())
	}
}

func TestForecasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at midnight UTC
		u, _ := open(t, "")
		call := func(tenant string, n int) {
			u.Count(&Call{Tenant: tenant, Caller: "webform", Path: accounts, Operations: n, At: time.Now()})
		}
		entitled := func(tenant string) int { return map[string]int{"contoso": 1000, "fabrikam": 500_000}[tenant] }
		for range 6 {
			call("contoso", 100)
			call("fabrikam", 1000)
			call("adatum", 7)
			time.Sleep(time.Hour)
		}
		call("refused", 0)
		if got := fmt.Sprint(u.Forecasts(time.Now(), entitled)); got != "[{contoso 600 2400 1000 240} {fabrikam 6000 24000 500000 4} {adatum 42 168 0 0}]" {
			t.Error(got)
		}
		time.Sleep(18*time.Hour + 10*time.Minute) // after midnight there is little to go by
		if got := fmt.Sprint(u.Forecasts(time.Now(), entitled)); got != "[{contoso 0 600 1000 60} {fabrikam 0 6000 500000 1} {adatum 0 42 0 0}]" {
			t.Error(got)
		}
	})
}

func TestCSV(t *testing.T) {
	var text bytes.Buffer
	at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	err := WriteCSV(&text, []Row{
		{Tenant: "contoso", Caller: "=cmd|' /C calc'!A0", Service: webAPI, Version: "v9.2", Requests: 3, Operations: 2, Errors: 1, Last: at},
		{Tenant: "contoso", Caller: "a, \"b\"", Service: oData2011, Last: at, Retired: true, Next: "-move"},
		{Tenant: "@x", Caller: "+1", Service: "-", Version: "\tv", Last: at},
	})
	want := "tenant,caller,service,version,requests,operations,errors,last,retired,next\r\n" +
		"contoso,'=cmd|' /C calc'!A0,webapi,v9.2,3,2,1,2026-11-27T09:00:00Z,false,\r\n" +
		"contoso,\"a, \"\"b\"\"\",odata2011,,0,0,0,2026-11-27T09:00:00Z,true,'-move\r\n" +
		"'@x,'+1,'-,'\tv,0,0,0,2026-11-27T09:00:00Z,false,\r\n"
	if err != nil || text.String() != want {
		t.Errorf("%v\n%q\n%q", err, text.String(), want)
	}
}

func TestParseSince(t *testing.T) {
	for text, want := range map[string]time.Duration{"24h": 24 * time.Hour, "90m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "31d": longest} {
		if got, err := ParseSince(text); err != nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1h", "0h", "32d", "d", "-3d", "99999999999999999999d", "800h", "1.5d"} {
		if got, err := ParseSince(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A call costs no memory, and callers count side by side.
func TestCountingIsCheap(t *testing.T) {
	u, _ := open(t, t.TempDir())
	c := &Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()}
	u.Count(c)
	if n := testing.AllocsPerRun(1000, func() { u.Count(c) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := &Call{Tenant: "contoso", Caller: fmt.Sprint("caller", i), Path: accounts, At: time.Now()}
			for range 5000 {
				u.Count(c)
			}
		})
	}
	all.Go(func() {
		for range 50 {
			u.Keep()
			u.Rows(Question{})
		}
	})
	all.Wait()
	var n int64
	for _, r := range u.Rows(Question{}) {
		n += r.Requests
	}
	if n != 8*5000+1002 {
		t.Errorf("%d requests", n)
	}
}

func BenchmarkCount(b *testing.B) {
	d := statedir.Open("")
	u := Open(d)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := &Call{Tenant: "contoso", Caller: "webform", Path: accounts, Operations: 1, At: time.Now()}
		for pb.Next() {
			u.Count(c)
		}
	})
}

// Many tenants with many callers make no more rows than there is room for.
func TestAllRowsAreBounded(t *testing.T) {
	u := Open(statedir.Open(""))
	at := time.Now()
	for tenant := range mostRows/(mostOfOne-1) + 50 {
		for caller := range mostOfOne - 1 {
			u.Count(&Call{Tenant: fmt.Sprint("t", tenant), Caller: fmt.Sprint("c", caller), Path: "/api/data/v9.2/accounts", At: at})
		}
	}
	// One for the rest of each tenant may come on top.
	if n := u.total.Load(); n < mostRows || n > mostRows+100 {
		t.Errorf("%d rows", n)
	}
}

// An hour in which calls were counted, and none after it, becomes a day too.
func TestAnHourThatNothingFollowedBecomesADay(t *testing.T) {
	u := Open(statedir.Open(""))
	at := time.Now()
	u.Count(&Call{Tenant: "contoso", Caller: "c", Path: "/api/data/v9.2/accounts", At: at})
	u.mu.Lock()
	u.fold(at.Add(hourly + 2*time.Hour))
	u.mu.Unlock()
	for k, spans := range u.all() {
		for s := range spans {
			if !s.day {
				t.Errorf("%v: %v is kept by the hour", k, s)
			}
		}
	}
}

// Of what several proxies have counted the latest call is the last.
func TestTheLastCallIsThatOfAll(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, rows := range [][2]time.Time{{early, late}, {late, early}} {
		merged := Merge([]Row{{Tenant: "contoso", Requests: 1, Last: rows[0]}}, []Row{{Tenant: "contoso", Requests: 2, Last: rows[1]}})
		if len(merged) != 1 || merged[0].Requests != 3 || !merged[0].Last.Equal(late) {
			t.Errorf("%+v", merged)
		}
	}
}
