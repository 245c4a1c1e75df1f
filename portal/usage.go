package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"dynproxy/internal/page"
	"dynproxy/internal/usage"
)

// usageShown is how many rows the page has; the table for spreadsheets has all.
const usageShown = 500

// usageView is what the page of usage shows.
type usageView struct {
	usage.Question
	Far       string // how far back, as it was asked for
	Rows      []usage.Row
	More      int
	Retired   int // requests to what Microsoft has withdrawn, or is about to
	Requests  int64
	Forecasts []usage.Forecast
	CSV       string // the address of the table
	Wrong     string // what in the question cannot be understood
}

// usageAsked reads a question: ?since=24h, ?by=hour or day, ?tenant=, ?caller=.
func usageAsked(r *http.Request) (q usage.Question, far string, err error) {
	asked := r.URL.Query()
	if far = asked.Get("since"); far == "" {
		far = "24h"
	}
	back, err := usage.ParseSince(far)
	if err != nil {
		return q, far, err
	}
	q = usage.Question{Since: time.Now().Add(-back), By: asked.Get("by"), Tenant: nameAsked(r, "tenant"), Caller: nameAsked(r, "caller")}
	if !slices.Contains([]string{"", "hour", "day"}, q.By) {
		err = fmt.Errorf("by must be hour or day")
	}
	return q, far, err
}

func (p *Portal) usagePage(w http.ResponseWriter, r *http.Request) {
	q, far, err := usageAsked(r)
	v := usageView{Question: q, Far: far, Forecasts: p.source.Forecasts()}
	if err != nil {
		v.Wrong = err.Error()
		page.Write(w, http.StatusBadRequest, p.pages, "usage.html", v)
		return
	}
	v.Rows = p.source.Usage(q)
	for _, row := range v.Rows {
		v.Requests += row.Requests
		if row.Retired {
			v.Retired += int(row.Requests)
		}
	}
	v.More = max(0, len(v.Rows)-usageShown)
	v.Rows = v.Rows[:len(v.Rows)-v.More]
	address := url.Values{"since": {far}}
	for name, value := range map[string]string{"by": q.By, "tenant": q.Tenant, "caller": q.Caller} {
		if value != "" {
			address.Set(name, value)
		}
	}
	v.CSV = "/usage.csv?" + address.Encode()
	page.Write(w, http.StatusOK, p.pages, "usage.html", v)
}

func (p *Portal) usageCSV(w http.ResponseWriter, r *http.Request) {
	q, far, err := usageAsked(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="dynproxy-usage-`+far+`.csv"`)
	usage.WriteCSV(w, p.source.Usage(q)) // a reader who has left needs no error
}

func (p *Portal) apiUsage(w http.ResponseWriter, r *http.Request) {
	q, _, err := usageAsked(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	answer(w, http.StatusOK, struct {
		Since    time.Time        `json:"since"`
		Until    time.Time        `json:"until"`
		Usage    []usage.Row      `json:"usage"`
		Forecast []usage.Forecast `json:"forecast"`
	}{q.Since.UTC(), time.Now().UTC(), append([]usage.Row{}, p.source.Usage(q)...), append([]usage.Forecast{}, p.source.Forecasts()...)})
}
