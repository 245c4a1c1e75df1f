package proxy

import (
	"iter"
	"net/http"
	"net/url"
	"strings"

	"dynproxy/internal/problem"
)

// operation is what an organization is asked to do: by a request, by a part of a
// batch, or by an envelope.
type operation struct {
	method string
	path   string
	query  string // raw
	header map[string][]string
	batch  bool // only the path and the headers are judged: what it does, its parts do. So with an envelope's messages
}

// allowed judges an operation by the policy of the call's tenant and of its caller.
// It is the only judge; the answer is nil or the refusal.
func (c *call) allowed(d operation) *problem.Error {
	t := c.tenant
	if !under(t.Paths, d.path) {
		if masked(d.path) {
			return problem.New(problem.BadRequest, "The path holds encoded slashes before the OData path.")
		}
		return problem.New(problem.PathNotAllowed, "Callers of %s may use %s; an operator can widen that with PATHS.", t.Name, strings.Join(t.Paths, ", "))
	}
	if err := c.allowedHeader(d.header); err != nil {
		return err
	}
	if err := c.allowedQuery(d.query); err != nil {
		return err
	}
	writes, why := !d.batch && !isEnvelope(d.method, d.path) && !reads(d.method, d.path), ""
	overriding := d.overriding()
	if overriding != "" {
		writes, why = true, ", and "+overriding+" asks for another method than "+d.method
	}
	if t.ReadOnly && writes {
		return problem.New(problem.ReadOnly, "%s is read-only here%s; an operator can change that with READ_ONLY.", t.Name, why)
	}
	if c.known == nil {
		return nil
	}
	if c.known.ReadOnly && writes {
		return problem.New(problem.Forbidden, "The caller %s may only read%s; an operator can change that with READ_ONLY in its file.", c.caller, why)
	}
	if overriding != "" && len(c.known.Methods) > 0 {
		return problem.New(problem.Forbidden, "The caller %s may use some methods only%s; an operator can change that with METHODS in its file.", c.caller, why)
	}
	if !c.known.AllowsMethod(d.method) {
		return problem.New(problem.Forbidden, "The caller %s may not use the method %s; an operator can change that with METHODS in its file.", c.caller, d.method)
	}
	return nil
}

// allowedHeader refuses the headers with which a caller would act as somebody
// else or go round plug-ins. They are refused and not dropped: the call would
// run as another than was asked for.
func (c *call) allowedHeader(header map[string][]string) *problem.Error {
	if c.impersonation() {
		return nil
	}
	refused, rule := "", pass
	for name := range header {
		// Of several the first by its name is told, so that the same call gets
		// the same words.
		if r := ruleOf(name); (r == identity || r == bypass) && (refused == "" || name < refused) {
			refused, rule = name, r
		}
	}
	if name, odd := spellings[refused]; odd {
		refused = name
	}
	switch rule {
	case identity:
		return c.notPersonated("The header " + refused + " acts as another user")
	case bypass:
		return c.notPersonated("The header " + refused + " goes round the organization's own logic")
	}
	return nil
}

// allowedQuery refuses the query parameters that say what the headers of
// impersonation and plug-in bypass say, with or without their prefix. query is
// raw.
func (c *call) allowedQuery(query string) *problem.Error {
	if c.impersonation() {
		return nil
	}
	for name := range parameters(query) {
		for _, header := range [...]string{name, "MSCRM." + name} {
			switch ruleOf(header) {
			case identity:
				return c.notPersonated("The query parameter " + name + " acts as another user")
			case bypass:
				return c.notPersonated("The query parameter " + name + " goes round the organization's own logic")
			}
		}
	}
	return nil
}

// overriding returns by what d asks to be taken for another method, "" if it
// does not: a header, or a query parameter of such a name, where ASP.NET looks
// too.
func (d operation) overriding() string {
	for name, value := range parameters(d.query) {
		if value != "" && ruleOf(name) == override {
			return name
		}
	}
	for name, values := range d.header {
		if ruleOf(name) == override && strings.Join(values, "") != "" {
			return name
		}
	}
	return ""
}

// parameters gives the parameters of a raw query, by their decoded names
// without a '$' and with their raw values.
func parameters(query string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for part := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
			raw, value, _ := strings.Cut(part, "=")
			name, err := url.QueryUnescape(raw)
			if err != nil {
				name = raw
			}
			if !yield(strings.TrimPrefix(strings.TrimSpace(name), "$"), value) {
				return
			}
		}
	}
}

// notPersonated refuses what IMPERSONATION would allow.
func (c *call) notPersonated(what string) *problem.Error {
	if c.person != "" {
		return problem.New(problem.Forbidden, "%s, and the caller %s always acts as the person that its settings name.", what, c.caller)
	}
	return problem.New(problem.Forbidden, "%s, which is not allowed here; an operator can allow it with IMPERSONATION=true for the tenant %s or for a caller.", what, c.tenant.Name)
}

// readsByPOST are the operations below /api/data/ that are asked by POST and
// change nothing, as the last segment of a path.
var readsByPOST = map[string]bool{"searchquery": true, "searchsuggest": true, "searchautocomplete": true}

// reads reports whether a request changes nothing.
func reads(method, path string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	case http.MethodPost:
		// Deeper down the name is that of something that a record holds.
		unbound := strings.Count(strings.TrimRight(path, "/"), "/") == strings.Count("/api/data/v9.2/name", "/")
		return under([]string{"/api/search/"}, path) || unbound && under([]string{"/api/data/"}, path) && readsByPOST[lastSegment(path)]
	}
	return false
}

// lastSegment returns the end of a raw path, decoded and in lower case.
func lastSegment(path string) string {
	path = strings.TrimRight(path, "/")
	last, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		return ""
	}
	return strings.ToLower(last)
}
