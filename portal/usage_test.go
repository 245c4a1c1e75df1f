package portal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/history"
	"dynproxy/internal/usage"
)

func TestThePageOfUsage(t *testing.T) {
	p := New(newFleet(10), nil, operations())
	page := get(p, "/usage?since=7d&by=day").Body.String()
	for _, part := range []string{
		"3 of these 15 requests go to what Microsoft has withdrawn", "&lt;webform&gt;", "move to the Web API", `href="/usage.csv?by=day&amp;since=7d"`,
		`value="120"`, "not set", `<option value="day" selected>`, "dynproxy usage --since 7d",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s in %s", part, page)
		}
	}
	for _, bad := range []string{"<script>", "style=", "<webform>"} {
		if strings.Contains(page, bad) {
			t.Errorf("there is %s", bad)
		}
	}
	if page := get(p, "/usage?tenant=many").Body.String(); strings.Count(page, `<th scope="row">`) != usageShown+2 || !strings.Contains(page, "500 more are in the CSV") {
		t.Errorf("%d rows", strings.Count(page, `<th scope="row">`))
	}
	if w := get(p, "/usage?since=soon"); w.Code != 400 || !strings.Contains(w.Body.String(), "since must be a time") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestUsageAsCSVAndJSON(t *testing.T) {
	p := New(newFleet(10), nil, operations())
	w := get(p, "/usage.csv?since=24h")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" || w.Header().Get("Content-Disposition") != `attachment; filename="dynproxy-usage-24h.csv"` ||
		!strings.Contains(w.Body.String(), "\r\ntenant00001,'=report,odata2011,,3,0,3,") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var got struct {
		Since, Until time.Time
		Usage        []usage.Row
		Forecast     []usage.Forecast
	}
	w = get(p, "/api/usage?since=90m")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Usage) != 2 || !got.Usage[1].Retired || len(got.Forecast) != 2 || got.Until.Sub(got.Since).Round(time.Minute) != 90*time.Minute {
		t.Errorf("%v %s", err, w.Body)
	}
	for _, path := range []string{"/api/usage?since=x", "/api/usage?by=week", "/usage.csv?since=99d"} {
		if w := get(p, path); w.Code != 400 || !strings.Contains(w.Body.String(), `"message"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestTimelines(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	events := []history.Event{
		{At: ago(20 * 24 * time.Hour), State: "ready"}, {At: ago(3 * time.Hour), State: "broken", Why: "upstream_timeout"}, {At: ago(2 * time.Hour), State: "ready"},
		{At: ago(time.Hour), State: "attention", Why: "status 503"}, {At: ago(time.Minute), State: "broken", Why: "token_refused"},
	}
	drawings := timelines(events, []history.Gap{{From: ago(10 * time.Hour), To: ago(9 * time.Hour)}, {From: ago(30 * 24 * time.Hour), To: ago(29 * 24 * time.Hour)}})
	day, week := drawings[0], drawings[1]
	if day.Summary != "broken for 1 hour, 2 times; attention for 59 minutes; ready for 22 hours" && day.Summary != "broken for 1 hour, 2 times; attention for 59 minutes; ready for 21 hours" {
		t.Errorf("%s", day.Summary)
	}
	if len(day.Parts) != 6 || len(week.Parts) != 6 || len(day.Marks) != 5 || len(week.Marks) != 8 {
		t.Errorf("%+v\n%+v", day, week)
	}
	if first := day.Parts[0]; first.X != "0.0" || first.Class != "ready" || first.Width != "875.0" || first.Height != "9.0" || first.Y != "11.0" {
		t.Errorf("%+v", first)
	}
	// A minute of a week can be seen, and does not stick out.
	if last := week.Parts[4]; last.Width != "3.0" || last.X != "997.0" || !strings.Contains(last.Says, "token_refused") {
		t.Errorf("%+v", last)
	}
	if gap := day.Parts[5]; gap.Class != "nobody" || !strings.Contains(gap.Says, "did not run") {
		t.Errorf("%+v", gap)
	}
	if got := lastChanges(events); len(got) != 5 || got[0].For != "until now" || got[1].For != "59 minutes" || got[4].State != "ready" {
		t.Errorf("%+v", got)
	}
	if timelines(nil, nil) != nil || lastChanges(nil) != nil {
		t.Error("something is drawn of nothing")
	}
	if fresh := timelines([]history.Event{{At: ago(time.Hour), State: "ready"}}, nil)[0]; fresh.Summary != "ready for 1 hour; not known for 23 hours" && fresh.Summary != "ready for 1 hour; not known for 22 hours" {
		t.Errorf("%s", fmt.Sprint(fresh.Summary))
	}
}
