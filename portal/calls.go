package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/page"
)

const (
	callsShown = 100  // on the page, and by the API unless it is asked for more
	mostCalls  = 1000 // in one answer

	// beat is how often a stream says that it is alive.
	beat = 15 * time.Second
)

// callsView is what the list of calls shows.
type callsView struct {
	calls.Filter
	Calls  []*calls.Call
	Follow bool // whether the page comes again by itself
}

// Again is the address of this list, followed or not.
func (v callsView) Again(follow bool) string {
	q := url.Values{}
	for name, value := range map[string]string{"tenant": v.Tenant, "caller": v.Caller} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if v.Failed {
		q.Set("failed", "1")
	}
	if follow {
		q.Set("follow", "1")
	}
	if len(q) == 0 {
		return "/calls"
	}
	return "/calls?" + q.Encode()
}

// callsAsked is which calls a request asks for.
func callsAsked(r *http.Request) calls.Filter {
	return calls.Filter{Tenant: nameAsked(r, "tenant"), Caller: nameAsked(r, "caller"), Failed: isSet(r.URL.Query().Get("failed"))}
}

// nameAsked is the name of a tenant or caller in a parameter, as records have
// it: it is typed in any case of letters.
func nameAsked(r *http.Request, parameter string) string {
	return strings.ToLower(strings.TrimSpace(r.URL.Query().Get(parameter)))
}

func isSet(value string) bool {
	set, _ := strconv.ParseBool(value) // what is no such word is not set
	return set
}

func (p *Portal) callsPage(w http.ResponseWriter, r *http.Request) {
	f := callsAsked(r)
	v := callsView{Filter: f, Calls: p.calls.Last(f, callsShown), Follow: isSet(r.URL.Query().Get("follow"))}
	if v.Follow {
		w.Header().Set("Refresh", "3")
	}
	page.Write(w, http.StatusOK, p.pages, "calls.html", v)
}

func (p *Portal) callPage(w http.ResponseWriter, r *http.Request) {
	d, known := p.calls.Explain(r.PathValue("id"))
	if !known {
		page.Write(w, http.StatusNotFound, p.pages, "nocall.html", r.PathValue("id"))
		return
	}
	page.Write(w, http.StatusOK, p.pages, "call.html", d)
}

func (p *Portal) apiCalls(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = callsShown // none is given: what is no number does not come here
	}
	found := p.calls.Last(callsAsked(r), limit)
	answer(w, http.StatusOK, struct {
		Calls []*calls.Call `json:"calls"`
	}{append([]*calls.Call{}, found...)})
}

func (p *Portal) apiCall(w http.ResponseWriter, r *http.Request) {
	d, known := p.calls.Explain(r.PathValue("id"))
	if !known {
		refuse(w, http.StatusNotFound, "call_unknown", "No call with this id is remembered: of successes only a share is, and old calls make room for new ones. The access line in the log has it.")
		return
	}
	answer(w, http.StatusOK, d)
}

// apiStream sends calls as they end, as server-sent events: "call" with the
// access line, and "lost" with how many a reader was too slow for. It ends when
// the reader leaves or the proxy ends.
func (p *Portal) apiStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return // without a body nobody would see its end
	}
	watch := p.calls.Watch(callsAsked(r))
	if watch == nil {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too_many_streams", "Too many watch the calls already. Try again when one of them has left.")
		return
	}
	defer watch.Close()
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	alive := time.NewTicker(beat)
	defer alive.Stop()
	fmt.Fprint(w, ": these are the calls as they end\n\n")
	for out.Flush() == nil {
		select {
		case c := <-watch.Calls:
			tell(w, watch, c)
		case <-alive.C:
			tell(w, watch, nil)
		case <-r.Context().Done():
			return
		}
	}
}

// tell writes a call, the others that are there already, and how many were lost
// behind them.
func tell(w http.ResponseWriter, watch *calls.Watch, c *calls.Call) {
	if c == nil {
		fmt.Fprint(w, ": alive\n\n")
	}
	for there := len(watch.Calls); c != nil; there-- {
		text, err := json.Marshal(c)
		if err != nil {
			return // a Call always can be written
		}
		fmt.Fprintf(w, "event: call\ndata: %s\n\n", text)
		if c = nil; there > 0 {
			c = <-watch.Calls
		}
	}
	if lost := watch.Lost(); lost > 0 {
		fmt.Fprintf(w, "event: lost\ndata: {\"lost\":%d}\n\n", lost)
	}
}

// refuse answers with an error in the shape of all APIs here.
func refuse(w http.ResponseWriter, status int, code, message string) {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = code, message
	answer(w, status, body)
}

// inMillis is d in milliseconds, as people read it.
func inMillis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms == 0:
		return "0"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64)
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

// stageName is the stage as people read it.
func stageName(s calls.Stage) string {
	name := map[string]string{
		"rate": "the caller's own rate", "body": "the caller's body", "queue": "waiting for a place", "token": "token",
		"upstream": "the organization", "retry": "pause", "answer": "passing the answer on",
	}[s.Name]
	if s.Attempt > 1 {
		return fmt.Sprintf("%s, attempt %d", name, s.Attempt)
	}
	return name
}

// along and wide say where a stage is drawn, of a hundred.
func along(at, of time.Duration) string { return part(at, of, 0) }

func wide(took, of time.Duration) string { return part(took, of, 0.4) }

func part(d, of time.Duration, least float64) string {
	if of <= 0 {
		return "0"
	}
	return strconv.FormatFloat(max(least, min(100, 100*float64(d)/float64(of))), 'f', 2, 64)
}
