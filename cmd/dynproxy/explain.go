package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/callers"
	"dynproxy/internal/opsclient"
	"dynproxy/internal/problem"
	"dynproxy/internal/textfile"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// question is what POST /api/explain is asked.
type question struct {
	Method  string                  `json:"method,omitempty"` // GET if it is not given
	Target  string                  `json:"target"`           // a path of the proxy's, or a whole URL
	Headers map[string]headerValues `json:"headers,omitempty"`
	Remote  string                  `json:"remote,omitempty"` // an address; the asker's if it is not given
	Caller  string                  `json:"caller,omitempty"` // the name of one that is taken for proven
	Body    *string                 `json:"body,omitempty"`   // to be judged; nothing else is done with it
}

// headerValues are written as one string or as a list of them.
type headerValues []string

func (v *headerValues) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*v = headerValues{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// explain answers POST /api/explain.
func (h *server) explain(w http.ResponseWriter, r *http.Request) {
	q, err := h.readQuestion(r)
	if err != nil {
		problem.New(problem.BadRequest, "%s", err).Answer(w)
		return
	}
	writeJSON(w, http.StatusOK, h.calls.Explain(q, proxy.Foresight{
		Guard: h.headLimits(),
		Held:  func(t *tenants.Tenant) (time.Time, error) { return h.tokens.Outlook(notNow, t) },
	}))
}

// notNow keeps what is only looked up from asking anybody.
var notNow = func() context.Context {
	ended, end := context.WithCancel(context.Background())
	end()
	return ended
}()

func (h *server) readQuestion(r *http.Request) (*proxy.Question, error) {
	var asked question
	from := json.NewDecoder(r.Body)
	from.DisallowUnknownFields()
	if err := from.Decode(&asked); err != nil {
		return nil, fmt.Errorf(`send {"method": "GET", "target": "/contoso/api/data/v9.2/accounts", "headers": {"Name": "value"}, "remote": "192.0.2.1"}: %w`, err)
	}
	q := &proxy.Question{Method: asked.Method, Header: make(http.Header)}
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	var err error
	if q.Caller, err = h.callerCalled(asked.Caller); err != nil {
		return nil, err
	}
	remote, err := remoteOf(asked.Remote, r)
	if err != nil {
		return nil, err
	}
	q.Remote = remote
	if asked.Target == "" {
		return nil, errors.New("target is missing: the address that would be called, such as /contoso/api/data/v9.2/accounts")
	}
	for name, values := range asked.Headers {
		for _, value := range values {
			q.Header.Add(name, value)
		}
	}
	// A client makes a path and the header Host of an address; who names that
	// header means the request line.
	if q.Host, q.Target = q.Header.Get("Host"), asked.Target; q.Host == "" {
		q.Host, q.Target = splitTarget(asked.Target)
	}
	q.Header.Del("Host")
	if q.Host == "" {
		q.Host = h.ownHost()
	}
	if asked.Body != nil {
		q.Body = []byte(*asked.Body)
		q.Header.Set("Content-Length", fmt.Sprint(len(q.Body)))
	}
	return q, nil
}

// callerCalled returns the caller of that name, nil for no name.
func (h *server) callerCalled(name string) (*callers.Caller, error) {
	if name == "" {
		return nil, nil
	}
	if !h.callers.Configured() {
		return nil, errors.New("no callers are set up here, so that none can be named: set " + prefix + "CALLERS_DIR, or leave caller out")
	}
	known := h.callers.Lookup(strings.ToLower(name))
	if known == nil {
		return nil, fmt.Errorf("there is no caller %q here; 'dynproxy caller list' names them", name)
	}
	return known, nil
}

func remoteOf(asked string, r *http.Request) (netip.Addr, error) {
	if asked == "" {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		return from.Addr().Unmap(), err
	}
	remote, err := netip.ParseAddr(asked)
	if err != nil {
		return remote, fmt.Errorf("remote is no address: write one such as 192.0.2.1, without a port")
	}
	return remote.Unmap(), nil
}

// splitTarget cuts the host off a whole URL, and leaves what follows as it is
// written.
func splitTarget(target string) (host, path string) {
	scheme, rest, found := strings.Cut(target, "://")
	if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", target
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return rest, "/"
	}
	if rest[end] == '?' {
		return rest[:end], "/" + rest[end:]
	}
	return rest[:end], rest[end:]
}

// ownHost is the name by which callers reach the proxy, as far as it is known
// here.
func (h *server) ownHost() string {
	if public, err := url.Parse(h.config().PublicURL); err == nil && public.Host != "" {
		return public.Host
	}
	return "localhost:" + portOf(h.config().Listen)
}

func (w *cli) explain() *cobra.Command {
	var q question
	var headers []string
	var body string
	var asJSON bool
	c := &cobra.Command{
		Use: "explain [-X METHOD] [-H HEADER] URL", Short: "Say what a running proxy would do with a call, without making it",
		Long: "Asks the proxy that runs with the same settings what would become of a call: who it would be taken for, which\n" +
			"policies decide, what would be sent where, and how the budget and the token stand. Nothing is sent.\n" +
			"URL is what a caller would use, or the path of it. Exits with 0 when the call would be sent, 1 when it would be refused,\n" +
			"2 for words that make no call.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q.Target = args[0]
			if err := q.take(headers, body, c.Flags().Changed("data")); err != nil {
				return err
			}
			return w.runExplain(c.Context(), &q, asJSON)
		},
	}
	f := c.Flags()
	f.StringVarP(&q.Method, "request", "X", "", "the `METHOD` (GET, or POST with a body)")
	f.StringArrayVarP(&headers, "header", "H", nil, "a header, as `'Name: value'` (may be repeated)")
	f.StringVarP(&body, "data", "d", "", "a `BODY` to be judged, or @FILE")
	f.StringVar(&q.Caller, "caller", "", "take the caller of this `NAME` for proven, whose key nobody knows any more")
	f.StringVar(&q.Remote, "remote", "", "the `ADDRESS` that the call would come from (this machine's)")
	f.BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

// take adds what the command line says of headers and body.
func (q *question) take(headers []string, body string, hasBody bool) error {
	q.Headers = make(map[string]headerValues)
	for _, line := range headers {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return &usageError{fmt.Errorf("-H wants 'Name: value', not %q", line)}
		}
		q.Headers[name] = append(q.Headers[name], strings.TrimSpace(value))
	}
	if hasBody {
		if file, is := strings.CutPrefix(body, "@"); is {
			text, err := textfile.ReadRaw(file)
			if err != nil {
				return &usageError{err}
			}
			body = string(text)
		}
		q.Body = &body
		q.Method = cmp.Or(q.Method, http.MethodPost)
	}
	return nil
}

func (w *cli) runExplain(ctx context.Context, q *question, asJSON bool) error {
	a, err := w.asker()
	if err != nil {
		return err
	}
	var x proxy.Explanation
	err = a.Ask(ctx, http.MethodPost, "/api/explain", q, &x)
	if _, wrong := errors.AsType[*opsclient.QuestionError](err); wrong {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	if x.Outcome == "" {
		return a.Stranger("/api/explain")
	}
	if asJSON {
		err = w.printJSON(x)
	} else {
		_, err = io.WriteString(w.stdout, inWords(&x))
	}
	if err == nil && x.Outcome == "refused" {
		err = errNotWell
	}
	return err
}

// sheet is text in two columns: what, and what of it.
type sheet struct{ strings.Builder }

func (s *sheet) line(what, format string, args ...any) {
	fmt.Fprintf(s, "%-9s "+format+"\n", append([]any{what}, args...)...)
}

// inWords prints x for people.
func inWords(x *proxy.Explanation) string {
	var s sheet
	switch x.Outcome {
	case "refused":
		s.line("outcome", "refused: %d %s", x.Status, x.Code)
		s.line("", "%s", x.Message)
	case "waits":
		s.line("outcome", "waits some %.0f s for %s, then is sent", math.Ceil(x.Budget.Wait), cmp.Or(x.Budget.For, "the caller's own rate"))
	default:
		s.line("outcome", "sent")
	}
	caller := "nobody that is known by name"
	switch {
	case x.KnownBy == "assumed":
		caller = x.Caller + ", taken for granted"
	case x.Caller != "":
		caller = x.Caller + ", known by " + x.KnownBy
	}
	s.line("caller", "%s, from %s", caller, x.Remote)
	if x.Tenant != "" {
		s.line("tenant", "%s, found by the %s", x.Tenant, x.FoundBy)
	}
	for _, p := range x.Policies {
		s.line("policy", "%s: %s=%s", p.Of, p.Setting, p.Value)
	}
	s.request(x)
	s.means(x)
	return s.String()
}

// request prints what would be sent.
func (s *sheet) request(x *proxy.Explanation) {
	if r := x.Request; r != nil {
		s.line("request", "%s %s", r.Method, r.URL)
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			for _, value := range r.Headers[name] {
				s.line("", "%s: %s", name, value)
			}
		}
		if len(r.LeftOut) > 0 {
			s.line("", "left out: %s", strings.Join(r.LeftOut, ", "))
		}
	}
	if x.Body != "" {
		s.line("body", "%s", x.Body)
	}
}

// means prints what the call would take of its tenant.
func (s *sheet) means(x *proxy.Explanation) {
	if b := x.Budget; b != nil {
		s.line("budget", "%s: %.0f of %s requests in the window, %.0f of %s in flight, %d waiting", b.Mode, b.Requests, orAny(b.Limit), b.InFlight, orAny(b.Places), b.Waiting)
		for _, note := range b.Notes {
			s.line("", "%s", note)
		}
	}
	switch t := x.Token; {
	case t == nil:
	case t.Expires.IsZero():
		s.line("token", "%s", t.State)
	default:
		s.line("token", "%s, good until %s", t.State, t.Expires.Local().Format(time.RFC1123))
	}
}

// orAny is a limit as people read it.
func orAny(limit float64) string {
	if limit == 0 {
		return "any number of"
	}
	return fmt.Sprintf("%.0f", limit)
}
