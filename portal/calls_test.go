package portal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/calls"
)

func remembered() *calls.Ring {
	ring := calls.NewRing()
	for i := range 150 {
		ring.Add(&calls.Call{ID: fmt.Sprint("well-", i), Time: time.Now(), Tenant: "contoso", Caller: "webform", Remote: "10.0.0.7", Method: "GET", Path: "/contoso/a", Status: 200, Attempts: 1})
	}
	ring.Add(&calls.Call{
		ID: "broken-1", Time: time.Now(), Tenant: "fabrikam", Caller: "10.0.0.8", Remote: "10.0.0.8", Host: "proxy:8080", Agent: "<script>alert(1)</script>", Method: "POST", Path: "/fabrikam/\"<b>",
		Status: 502, Attempts: 2, Error: "upstream_unreachable", Message: "The organization cannot be reached. Next: dynproxy check fabrikam", Reason: "reset", Service: "s-1",
		Total: 900 * time.Millisecond, Queue: 100 * time.Millisecond, Upstream: 400 * time.Millisecond, Retry: 300 * time.Millisecond, Own: 100 * time.Millisecond,
		Tries: []calls.Try{
			{Began: 50 * time.Millisecond, Queue: 100 * time.Millisecond, Upstream: 200 * time.Millisecond, Status: 503, Result: "unavailable", Pause: 300 * time.Millisecond},
			{Began: 650 * time.Millisecond, Upstream: 200 * time.Millisecond, Result: "failed", Reason: "the connection was reset"},
		},
	})
	return ring
}

func TestCallsArePagesAndJSON(t *testing.T) {
	p := New(newFleet(3), remembered(), operations())
	page := get(p, "/calls").Body.String()
	if n := strings.Count(page, `<th scope="row">`); n != callsShown || !strings.Contains(page, `href="/calls/broken-1"`) {
		t.Errorf("%d rows", n)
	}
	failed := get(p, "/calls?failed=1&tenant=fabrikam&follow=1")
	if page = failed.Body.String(); strings.Count(page, `<th scope="row">`) != 1 || !strings.Contains(page, "upstream_unreachable") || failed.Header().Get("Refresh") == "" || !strings.Contains(page, `href="/calls?failed=1&amp;tenant=fabrikam"`) {
		t.Errorf("%s", page)
	}
	one := get(p, "/calls/broken-1")
	page = one.Body.String()
	for _, part := range []string{
		"the organization, attempt 2", "the organization is not available: 503", "no answer, the connection was reset", "pause", "waiting for a place",
		"The organization cannot be reached. Next: dynproxy check fabrikam", `<rect x="5.56" width="11.11"`, "&lt;script&gt;", "x-ms-service-request-id", "502",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s in %s", part, page)
		}
	}
	for _, bad := range []string{"<script>", "style=", "<b>\"", "\"<b>"} {
		if strings.Contains(page, bad) {
			t.Errorf("%s is in the page", bad)
		}
	}
	if none := get(p, "/calls/nobody"); none.Code != 404 || !strings.Contains(none.Body.String(), "No call with this id") {
		t.Errorf("%d %s", none.Code, none.Body)
	}
	if none := get(p, "/api/calls/nobody"); none.Code != 404 || !strings.Contains(none.Body.String(), `"call_unknown"`) {
		t.Errorf("%d %s", none.Code, none.Body)
	}
	for query, want := range map[string]int{"": 100, "?limit=1000": 151, "?limit=7": 7, "?failed=1": 1, "?failed=0": 100, "?caller=webform&limit=500": 150, "?caller=+WebForm&limit=500": 150, "?tenant=FABRIKAM": 1, "?tenant=nobody": 0} {
		var list struct{ Calls []calls.Call }
		if w := get(p, "/api/calls"+query); json.Unmarshal(w.Body.Bytes(), &list) != nil || len(list.Calls) != want || !strings.Contains(w.Body.String(), `"calls": [`) {
			t.Errorf("%s: %d calls", query, len(list.Calls))
		}
	}
	var d calls.Detail
	if err := json.Unmarshal(get(p, "/api/calls/broken-1").Body.Bytes(), &d); err != nil || len(d.Stages) != 4 || d.Stages[2].Attempt != 1 || d.Stages[3].Reason != "the connection was reset" || d.Call.Retry != 300*time.Millisecond {
		t.Errorf("%v %+v", err, d)
	}
}

// A reader of the stream that stands still holds nobody up, and is told how
// many calls it has lost when it reads again.
func TestASlowReaderOfTheStreamIsToldWhatItLost(t *testing.T) {
	ring := calls.NewRing()
	server := httptest.NewServer(New(newFleet(1), ring, operations()))
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	io.WriteString(conn, "GET /api/calls/stream?failed=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(err, resp)
	}
	const sent = 20_000
	for i := range sent {
		ring.Add(&calls.Call{ID: fmt.Sprint(i), Tenant: "contoso", Status: 502, Path: strings.Repeat("x", 1000)})
	}
	conn.(*net.TCPConn).SetReadBuffer(4 << 20)
	got, lost, told := 0, 0, 0
	for lines := bufio.NewScanner(resp.Body); got+lost < sent && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), `data: {"time"`) {
			got++
		}
		if n, _ := fmt.Sscanf(lines.Text(), `data: {"lost":%d}`, &told); n == 1 {
			lost += told
		}
	}
	if got+lost != sent || lost == 0 {
		t.Errorf("%d came and %d were told of as lost, of %d", got, lost, sent)
	}
}
