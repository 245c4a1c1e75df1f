package proxy

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/callers"
	"dynproxy/internal/httpguard"
	"dynproxy/internal/limits"
	"dynproxy/internal/problem"
	"dynproxy/internal/soap"
	"dynproxy/tenants"
)

// Question is a call that nobody has made: what would become of it?
type Question struct {
	Method string
	Target string // as in a request line: /contoso/api/data/v9.2/accounts
	Host   string
	Header http.Header
	Remote netip.Addr      // from where it would come
	Caller *callers.Caller // who is taken for proven; nil to judge by what Header and Remote prove
	Body   []byte          // nil for none that is to be judged
}

// Explanation is what would become of a call. Nothing was sent or spent to find
// it out.
type Explanation struct {
	// Outcome is "sent", "waits" (for its place or the caller's own rate, then
	// sent) or "refused".
	Outcome string `json:"outcome"`

	// Of a refusal, as the caller would get it.
	Status     int          `json:"status,omitempty"`
	Code       problem.Code `json:"error,omitempty"`
	Message    string       `json:"message,omitempty"`
	RetryAfter float64      `json:"retry_after_seconds,omitempty"`

	Remote   string   `json:"remote"`
	Caller   string   `json:"caller,omitempty"`
	KnownBy  string   `json:"known_by,omitempty"` // "key", "basic", "certificate", "negotiate", "address" or "assumed"
	Tenant   string   `json:"tenant,omitempty"`
	FoundBy  string   `json:"found_by,omitempty"` // "path" or "host"
	Policies []Policy `json:"policies,omitempty"` // what was judged by

	Request *Sent         `json:"request,omitempty"` // as the organization would get it, of a call that the policies allow
	Body    string        `json:"body,omitempty"`    // whether it was judged
	Budget  *BudgetNow    `json:"budget,omitempty"`
	Token   *TokenOutlook `json:"token,omitempty"`
}

// Policy is one setting that a call is judged by.
type Policy struct {
	Of      string `json:"of"` // "proxy", "tenant contoso" or "caller erp"
	Setting string `json:"setting"`
	Value   string `json:"value"`
}

// Sent is what the organization would get.
type Sent struct {
	Method  string              `json:"method"`
	URL     string              `json:"url"`
	Headers map[string][]string `json:"headers"`            // the token's value left out
	LeftOut []string            `json:"left_out,omitempty"` // names of headers that stay behind
}

// BudgetNow is what the tenant's budget would do with the call.
type BudgetNow struct {
	Mode     string   `json:"mode"` // "enforce", "report" or "off"
	Requests float64  `json:"requests"`
	Limit    float64  `json:"requests_limit"` // 0: none
	InFlight float64  `json:"in_flight"`
	Places   float64  `json:"in_flight_limit"` // 0: none
	Waiting  int      `json:"waiting"`
	For      string   `json:"waits_for,omitempty"`           // the limit
	Wait     float64  `json:"likely_wait_seconds,omitempty"` // the caller's own rate included
	Notes    []string `json:"notes,omitempty"`               // what keeps calls from the whole of it, in words
}

// TokenOutlook is how a call would come by its token.
type TokenOutlook struct {
	State   string    `json:"state"` // "held", "to be asked for" or "refused"
	Expires time.Time `json:"expires,omitzero"`
}

// Foresight is what Explain needs beyond the Handler.
type Foresight struct {
	Guard httpguard.Limits // of the listener for callers
	// Held returns when the token that is held for a tenant expires, zero
	// without one, and the *problem.Error that a call would get in place of one.
	Held func(*tenants.Tenant) (time.Time, error)
}

// Explain says what would become of q, by the same decisions that a call goes
// through. What an organization answers, it cannot know.
func (h *Handler) Explain(q *Question, f Foresight) *Explanation {
	r := q.request()
	c := newCall(r)
	c.identify = h.identifyFor(q)
	r = r.WithContext(withCall(r.Context(), c))
	x := &Explanation{Outcome: "sent", Remote: q.Remote.String()}
	if wrong := httpguard.Judge(r, f.Guard); wrong != nil {
		// An absolute address in what is malformed is not even read.
		x.refused(malformed(wrong), strings.HasPrefix(q.Target, "/") && speaksSOAP(r))
		return x
	}
	defer func() { c.body.close() }()
	err := h.foresee(c, r, q, f, x)
	x.describe(h, c, q)
	if err != nil {
		x.refused(problemOf(r.Context(), c, err), speaksSOAP(r))
	}
	return x
}

// identifyFor takes the caller that q names for proven; else it goes by what q
// shows. Nothing is held against anybody.
func (h *Handler) identifyFor(q *Question) identify {
	if q.Caller == nil {
		return h.Callers.Recognize
	}
	return func(*http.Request, netip.Addr, *tls.ConnectionState) (callers.Identity, error) {
		return callers.Identity{Caller: q.Caller, Way: "assumed", ObjectID: q.Caller.CallerObjectID}, nil
	}
}

// foresee walks the stages of a call, in their order, to the first refusal.
func (h *Handler) foresee(c *call, r *http.Request, q *Question, f Foresight, x *Explanation) error {
	w := &nobody{header: make(http.Header)}
	c.answer = w.header
	if err := h.judge(c, r); err != nil {
		return err
	}
	own := time.Duration(0)
	if c.known != nil {
		if own = c.known.Delay(); own > c.tenant.QueueWait {
			return c.beyondOwnRate(own)
		}
	}
	if err := h.foreseeBody(c, w, r, q, x); err != nil {
		return err
	}
	x.Request = sentOf(c, r)
	if err := h.foreseeBudget(c, own, x); err != nil {
		return err
	}
	return x.foreseeToken(c, f)
}

// foreseeBody judges the body that was given, if it was.
func (h *Handler) foreseeBody(c *call, w http.ResponseWriter, r *http.Request, q *Question, x *Explanation) error {
	carries := r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions && r.Method != http.MethodDelete
	switch {
	case q.Body == nil && !carries:
		return nil
	case q.Body == nil:
		x.Body = "not judged: none was given"
		return nil
	}
	x.Body = "judged"
	return h.takeBody(c, w, r)
}

func (h *Handler) foreseeBudget(c *call, own time.Duration, x *Explanation) error {
	key := BudgetKey(c.tenant, c.clientID)
	s := h.Gate.Snapshot(key)
	b := &BudgetNow{
		Mode:     c.tenant.Limits,
		Requests: s.Requests.Used, Limit: s.Requests.Limit, InFlight: s.Concurrency.Used, Places: s.Concurrency.Limit,
		Waiting: s.Waiting, Notes: s.Restraints(),
	}
	if s.Window == 0 { // never called
		b.Limit, b.Places = float64(c.tenant.Requests), float64(c.tenant.Concurrency)
	}
	x.Budget = b
	p := h.Gate.Prospect(key, limits.Caller{Name: c.caller, Weight: c.weight}, c.tenant.QueueWait)
	if p.Kind != limits.None {
		b.For = p.Kind.String()
	}
	b.Wait = (own + p.Likely).Seconds()
	switch {
	case p.Refused != nil:
		return p.Refused
	case p.Kind != limits.None || own > 0:
		x.Outcome = "waits"
	}
	return nil
}

func (x *Explanation) foreseeToken(c *call, f Foresight) error {
	expires, err := f.Held(c.tenant)
	x.Token = &TokenOutlook{State: "held", Expires: expires}
	switch {
	case err != nil:
		x.Token.State = "refused"
		return err
	case expires.IsZero():
		x.Token.State = "to be asked for"
	}
	return nil
}

// refused turns x into the refusal e, which may be told as a fault.
func (x *Explanation) refused(e *problem.Error, asFault bool) {
	x.Outcome, x.Code, x.Message, x.RetryAfter = "refused", e.Code, e.Message, e.RetryAfter.Seconds()
	if x.Status = e.Status(); asFault {
		x.Status = (&soap.Fault{Status: x.Status}).HTTPStatus()
	}
}

// describe says who decided, as far as the call came.
func (x *Explanation) describe(h *Handler, c *call, q *Question) {
	if from := h.entrance.Load().Addresses; len(from) > 0 {
		x.Policies = append(x.Policies, Policy{"proxy", "ALLOW_CIDRS", joined(from)})
	}
	if c.known != nil {
		x.Caller, x.KnownBy = c.known.Name, c.way
		x.Policies = append(x.Policies, policiesOfCaller(c.known)...)
	}
	if c.tenant == nil {
		return
	}
	x.Tenant, x.FoundBy = c.tenant.Name, "path"
	if h.Tenants.ByHost(httpguard.HostName(q.Host)) == c.tenant {
		x.FoundBy = "host"
	}
	x.Policies = append(x.Policies, policiesOfTenant(c.tenant)...)
}

func policiesOfCaller(k *callers.Caller) []Policy {
	of := "caller " + k.Name
	all := []Policy{
		{of, "TENANTS", strings.Join(k.Tenants, ", ")}, {of, "METHODS", strings.Join(k.Methods, ", ")}, {of, "CIDRS", joined(k.CIDRs)},
		{of, "CALLER_OBJECT_ID", k.CallerObjectID},
	}
	all = slices.DeleteFunc(all, func(p Policy) bool { return p.Value == "" })
	if k.ReadOnly {
		all = append(all, Policy{of, "READ_ONLY", "true"})
	}
	if k.Impersonation {
		all = append(all, Policy{of, "IMPERSONATION", "true"})
	}
	if k.Rate > 0 {
		all = append(all, Policy{of, "RATE", fmt.Sprintf("%g a second, %d at once", k.Rate, k.Burst)})
	}
	return all
}

func policiesOfTenant(t *tenants.Tenant) []Policy {
	of := "tenant " + t.Name
	return []Policy{
		{of, "PATHS", strings.Join(t.Paths, ", ")}, {of, "READ_ONLY", fmt.Sprint(t.ReadOnly)}, {of, "IMPERSONATION", fmt.Sprint(t.Impersonation)},
		{of, "LIMITS", t.Limits}, {of, "QUEUE_WAIT", t.QueueWait.String()},
	}
}

func joined(all []netip.Prefix) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// sentOf is what outbound makes of r.
func sentOf(c *call, r *http.Request) *Sent {
	given := r.Header.Clone()
	out := new(http.Request)
	*out = *r
	out.URL, out.Header = new(url.URL), r.Header
	outbound(&httputil.ProxyRequest{In: r, Out: out})
	s := &Sent{Method: out.Method, URL: "https://" + c.tenant.OrgHost() + c.path, Headers: out.Header}
	if c.asked {
		s.URL += "?" + c.query
	}
	s.Headers["Authorization"] = []string{"Bearer [redacted]"}
	delete(s.Headers, "Content-Length") // the body's own, when its links are rewritten
	for name := range given {
		if spelled := cmp.Or(spellings[name], name); (out.Header[spelled] == nil || name == "Authorization") && name != "Content-Length" {
			s.LeftOut = append(s.LeftOut, name)
		}
	}
	slices.Sort(s.LeftOut)
	return s
}

// request is q as net/http would hand it to a handler.
func (q *Question) request() *http.Request {
	r := &http.Request{
		Method: q.Method, RequestURI: q.Target, Host: q.Host, URL: new(url.URL), Header: q.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: netip.AddrPortFrom(q.Remote, 1).String(), Body: http.NoBody,
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if q.Body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.Body)), int64(len(q.Body))
	}
	return r
}

// nobody takes no answer.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n *nobody) WriteHeader(int)             {}
