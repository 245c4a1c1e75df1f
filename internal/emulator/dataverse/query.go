package dataverse

import (
	"slices"
	"strconv"
	"strings"
)

// query is what is asked of one table: the options of a request, or those in
// the parentheses of an $expand.
type query struct {
	table  *table
	shown  []*column // nil for all
	expand []*expansion
	filter predicate // nil for all rows
	order  []ordering
	top    int // -1 for no bound
	count  bool
	given  options
}

// parseQuery reads options as a query of table t. params holds the parameter
// values of the whole request.
func (q *request) parseQuery(t *table, given, params options) (*query, error) {
	out := &query{table: t, top: -1, given: given}
	for _, option := range given {
		var err error
		switch option.name {
		case "$select":
			out.shown, err = parseSelect(t, option.value)
		case "$filter":
			out.filter, err = parseFilter(q.org.data.schema, t, option.value, params)
		case "$orderby":
			out.order, err = parseOrder(q.org.data.schema, t, option.value)
		case "$top":
			out.top, err = parseTop(option.value)
		case "$count":
			out.count, err = parseCount(option.value)
		case "$expand":
			out.expand, err = q.parseExpand(t, option.value, params)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseSelect(t *table, text string) ([]*column, error) {
	shown := []*column{}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			return nil, nil
		}
		c := t.column(name)
		if c == nil {
			return nil, noProperty(t, name)
		}
		if !slices.Contains(shown, c) {
			shown = append(shown, c)
		}
	}
	return shown, nil
}

func noProperty(t *table, name string) error {
	return badQuery("Could not find a property named '%s' on type '%s'.", name, t.edmType())
}

func parseTop(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return 0, badQuery("Invalid value '%s' for $top query option found. The $top query option requires a non-negative integer value.", text)
	}
	return n, nil
}

func parseCount(text string) (bool, error) {
	switch strings.TrimSpace(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badQuery("Invalid value '%s' for $count query option found.", text)
}

// expansion is one item of $expand: a navigation property and what is asked of
// the records that it leads to.
type expansion struct {
	single *single
	set    *collection
	ref    bool // only links: nav/$ref
	query  *query
}

func (e *expansion) name() string {
	if e.single != nil {
		return e.single.name
	}
	return e.set.name
}

// nestable are the options that may stand in an $expand.
var nestable = map[string]bool{"$select": true, "$filter": true, "$orderby": true, "$top": true, "$expand": true, "$count": true}

// parseExpand reads "a($select=x;$top=1),b/$ref".
func (q *request) parseExpand(t *table, text string, params options) ([]*expansion, error) {
	var out []*expansion
	for _, item := range splitOutside(text, ',') {
		e, err := q.parseExpansion(t, strings.TrimSpace(item), params)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(other *expansion) bool { return other.name() == e.name() }) {
			return nil, badQuery("The navigation property '%s' is expanded more than once.", e.name())
		}
		out = append(out, e)
	}
	return out, nil
}

func (q *request) parseExpansion(t *table, item string, params options) (*expansion, error) {
	name, inner, nested := strings.Cut(item, "(")
	if nested {
		var ok bool
		if inner, ok = strings.CutSuffix(inner, ")"); !ok {
			return nil, badQuery("Term '%s' is not valid in a $expand expression.", item)
		}
	}
	name, ref := strings.CutSuffix(strings.TrimSpace(name), "/$ref")
	e := &expansion{ref: ref, single: t.single(name)}
	var to string
	if e.single != nil {
		to = e.single.target
	} else if e.set = t.collection(name); e.set != nil {
		to = e.set.target
	} else {
		return nil, noProperty(t, name)
	}
	given, err := parseNested(inner)
	if err != nil {
		return nil, err
	}
	for _, option := range given {
		if e.single != nil && option.name != "$select" && option.name != "$expand" {
			return nil, badQuery("The option '%s' cannot be applied to the single-valued navigation property '%s'.", option.name, name)
		}
	}
	e.query, err = q.parseQuery(q.org.data.schema.table(to), given, params)
	return e, err
}

func parseNested(text string) (options, error) {
	var given options
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for _, part := range splitOutside(text, ';') {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok || !nestable[name] {
			return nil, notImplemented("The option '%s' in $expand is not supported.", name)
		}
		if _, twice := given.get(name); twice {
			return nil, badQuery("Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
		given = append(given, argument{name, value})
	}
	return given, nil
}
