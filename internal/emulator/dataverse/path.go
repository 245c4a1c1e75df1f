package dataverse

import (
	"net/url"
	"strings"
)

// segment is one step of a resource path: a name and, in parentheses, its
// argument as it stands in the URL once unescaped.
type segment struct {
	name   string
	args   string
	called bool // whether there were parentheses
}

// splitPath splits an escaped resource path into its segments. A slash inside
// quotes or parentheses belongs to a key; an escaped one always does.
func splitPath(path string) ([]segment, error) {
	var segments []segment
	for _, raw := range splitOutside(path, '/') {
		text, err := url.PathUnescape(raw)
		if err != nil {
			return nil, badQuery("The URI is malformed: %v", err)
		}
		if text == "" {
			return nil, badQuery("Empty segment encountered in request URL. Please make sure that a valid request URL is specified.")
		}
		s, err := parseSegment(text)
		if err != nil {
			return nil, err
		}
		segments = append(segments, s)
	}
	return segments, nil
}

func parseSegment(text string) (segment, error) {
	name, rest, called := strings.Cut(text, "(")
	if !called {
		return segment{name: text}, nil
	}
	args, ok := strings.CutSuffix(rest, ")")
	if !ok || name == "" {
		return segment{}, badQuery("Bad Request - Error in query syntax.")
	}
	return segment{name: name, args: args, called: true}, nil
}

// splitOutside splits s at each sep that stands outside quotes, parentheses,
// brackets and braces.
func splitOutside(s string, sep byte) []string {
	var parts []string
	depth, start, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		}
	}
	return append(parts, s[start:])
}

// argument is one named argument of a key or function, its value as written.
type argument struct{ name, value string }

// parseArguments reads "a='x',b=2". A lone value without a name has the name "".
func parseArguments(text string) ([]argument, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var args []argument
	for _, part := range splitOutside(text, ',') {
		name, value, ok := cutOutside(part, '=')
		if !ok {
			name, value = "", part
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if value == "" || ok && name == "" {
			return nil, badQuery("Bad Request - Error in query syntax.")
		}
		args = append(args, argument{name, value})
	}
	return args, nil
}

// cutOutside is strings.Cut at the first sep outside quotes.
func cutOutside(s string, sep byte) (before, after string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			quoted = !quoted
		}
		if s[i] == sep && !quoted {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unquote reads a string literal of OData: single quotes, doubled inside.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	inner := s[1 : len(s)-1]
	if strings.Count(inner, "'") != 2*strings.Count(inner, "''") {
		return "", false
	}
	return strings.ReplaceAll(inner, "''", "'"), true
}

// target is what a path leads to.
type target struct {
	table    *table  // of the records that are meant
	id       string  // of one record; "" for a set or collection, or when the key names none that exists
	keys     keyPart // the key as it was given, of one record that is addressed directly
	parent   *row    // the record whose navigation property this is
	owner    *table  // its table
	single   *single
	set      *collection
	member   bool // one member of a collection-valued property
	column   *column
	raw      bool   // .../$value
	ref      bool   // .../$ref
	count    bool   // .../$count
	action   string // bound operation, without its namespace
	args     string // its arguments
	oneMeant bool   // a record is meant, whether or not it exists
}

// resolve walks the segments to what they lead to. A record in the middle of a
// path must exist; the last may be missing, for an upsert.
func (q *request) resolve(segments []segment) (*target, error) {
	segments, err := q.dereference(segments)
	if err != nil {
		return nil, err
	}
	t := q.org.data.schema.set(segments[0].name)
	if t == nil {
		return nil, noSegment(segments[0].name)
	}
	if err := q.allow(t); err != nil {
		return nil, err
	}
	at := &target{table: t}
	if segments[0].called {
		if err := q.address(at, segments[0].args); err != nil {
			return nil, err
		}
	}
	for _, s := range segments[1:] {
		if at, err = q.step(at, s); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// dereference replaces a Content-ID reference ($1) by the path of the record
// that an earlier part of the change set made.
func (q *request) dereference(segments []segment) ([]segment, error) {
	id, ok := strings.CutPrefix(segments[0].name, "$")
	if !ok {
		return segments, nil
	}
	path, ok := q.contentIDs[id]
	if !ok {
		return nil, badQuery("Content-ID Reference: '%s' does not exist in the batch context.", segments[0].name)
	}
	first, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	return append(first, segments[1:]...), nil
}

// step follows one segment from where the path has come to.
func (q *request) step(at *target, s segment) (*target, error) {
	if at.raw || at.ref || at.count || at.action != "" {
		return nil, noSegment(s.name)
	}
	if strings.HasPrefix(s.name, "$") {
		return at.special(s)
	}
	if name, ok := strings.CutPrefix(s.name, "Microsoft.Dynamics.CRM."); ok && at.column == nil {
		to := *at
		to.action, to.args = name, s.args
		return &to, nil
	}
	if !at.oneMeant || at.column != nil {
		return nil, noSegment(s.name)
	}
	if at.id == "" {
		return nil, q.absent(at)
	}
	r := q.org.data.find(at.table, at.id)
	if c := at.table.column(s.name); c != nil && !s.called {
		to := *at
		to.column = c
		return &to, nil
	}
	return q.navigate(at.table, r, s)
}

// absent is the fault of a record that is meant but not there.
func (q *request) absent(at *target) error {
	if at.single != nil {
		return faultf(404, codeMissing, "The navigation property '%s' of the record leads to none.", at.single.name)
	}
	if at.keys.id != "" {
		return noRecord(at.table, at.keys.id)
	}
	return faultf(404, codeMissing, "A record with the specified key values does not exist in %s entity", at.table.name)
}

func (at *target) special(s segment) (*target, error) {
	to := *at
	switch {
	case s.called:
		return nil, noSegment(s.name)
	case s.name == "$value" && at.column != nil:
		to.raw = true
	case s.name == "$ref" && at.parent != nil && at.column == nil:
		to.ref = true
	case s.name == "$count" && !at.oneMeant:
		to.count = true
	default:
		return nil, noSegment(s.name)
	}
	return &to, nil
}

// navigate follows a navigation property of record r.
func (q *request) navigate(t *table, r *row, s segment) (*target, error) {
	d := q.org.data
	if nav := t.single(s.name); nav != nil && !s.called {
		to := &target{table: d.schema.table(nav.target), parent: r, owner: t, single: nav, oneMeant: true}
		if led, ok := r.values[nav.column].(reference); ok && led.table == nav.target && d.find(to.table, led.id) != nil {
			to.id = led.id
		}
		return to, nil
	}
	nav := t.collection(s.name)
	if nav == nil {
		return nil, noSegment(s.name)
	}
	to := &target{table: d.schema.table(nav.target), parent: r, owner: t, set: nav}
	if !s.called {
		return to, nil
	}
	if err := q.address(to, s.args); err != nil {
		return nil, err
	}
	to.member = true
	for _, held := range d.related(t, r.id, nav) {
		if held.id == to.id {
			return to, nil
		}
	}
	return nil, q.absent(to)
}
