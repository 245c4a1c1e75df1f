package dataverse

import (
	"strings"
)

// addFilter adds a filter element to those that a source has already.
func (s *source) addFilter(n *node) error {
	p, err := readFilter(n, s.table)
	if err != nil {
		return err
	}
	s.filter = all(s.filter, p)
	return nil
}

func all(a, b predicate) predicate {
	if a == nil {
		return b
	}
	return func(d *store, r *row) bool { return a(d, r) && b(d, r) }
}

// readFilter reads a filter element: conditions and filters joined by its type.
func readFilter(n *node, t *table) (predicate, error) {
	if err := n.only("type"); err != nil {
		return nil, err
	}
	either := n.attr("type") == "or"
	if kind := n.attr("type"); kind != "" && kind != "and" && kind != "or" {
		return nil, badQuery("The filter type '%s' is not valid.", kind)
	}
	var tests []predicate
	for i := range n.Nodes {
		inner := &n.Nodes[i]
		var p predicate
		var err error
		switch inner.XMLName.Local {
		case "condition":
			p, err = readCondition(inner, t)
		case "filter":
			p, err = readFilter(inner, t)
		default:
			err = badQuery("The FetchXML element '%s' is not valid in a filter.", inner.XMLName.Local)
		}
		if err != nil {
			return nil, err
		}
		tests = append(tests, p)
	}
	return func(d *store, r *row) bool {
		for _, test := range tests {
			if test(d, r) == either {
				return either
			}
		}
		return !either || len(tests) == 0
	}, nil
}

func readCondition(n *node, t *table) (predicate, error) {
	if err := n.only("attribute", "operator", "value"); err != nil {
		return nil, err
	}
	c, err := fetchColumn(t, n.attr("attribute"))
	if err != nil {
		return nil, err
	}
	values := n.values()
	o, op := operand{column: c}, n.attr("operator")
	switch op {
	case "null", "not-null":
		return compare(o, map[string]string{"null": "eq", "not-null": "ne"}[op], "null")
	case "in", "not-in":
		return oneOf(o, values, op == "in")
	case "between":
		return between(o, values)
	}
	if len(values) != 1 {
		return nil, badQuery("The condition operator '%s' needs one value.", op)
	}
	value := values[0]
	switch op {
	case "eq", "ne", "gt", "ge", "lt", "le":
		return compare(o, op, fetchLiteral(c, value))
	case "neq":
		return compare(o, "ne", fetchLiteral(c, value))
	}
	return readLike(o, op, value)
}

// values gives a condition's values, from its attribute or its elements.
func (n *node) values() []string {
	if v := n.attr("value"); v != "" || len(n.Nodes) == 0 && n.has("value") {
		return []string{v}
	}
	var out []string
	for _, inner := range n.Nodes {
		if inner.XMLName.Local == "value" {
			out = append(out, inner.Text)
		}
	}
	return out
}

func (n *node) has(name string) bool {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return true
		}
	}
	return false
}

// readLike reads the operators that look into text.
func readLike(o operand, op, value string) (predicate, error) {
	patterns := map[string]string{
		"like": value, "not-like": value,
		"begins-with": value + "%", "not-begin-with": value + "%",
		"ends-with": "%" + value, "not-end-with": "%" + value,
	}
	pattern, ok := patterns[op]
	if !ok {
		return nil, notImplemented("The condition operator '%s' is not supported.", op)
	}
	if o.column.kind != kindText && o.column.kind != kindMemo {
		return nil, badQuery("The condition operator '%s' is not valid for the attribute '%s'.", op, o.column.name)
	}
	found := matches(o, pattern)
	if !strings.HasPrefix(op, "not-") {
		return found, nil
	}
	return func(d *store, r *row) bool { return !found(d, r) }, nil
}

func oneOf(o operand, values []string, in bool) (predicate, error) {
	var tests []predicate
	for _, value := range values {
		test, err := compare(o, "eq", fetchLiteral(o.column, value))
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	if len(tests) == 0 {
		return nil, badQuery("The condition operators 'in' and 'not-in' need values.")
	}
	return func(d *store, r *row) bool {
		for _, test := range tests {
			if test(d, r) {
				return in
			}
		}
		return !in
	}, nil
}

func between(o operand, values []string) (predicate, error) {
	if len(values) != 2 {
		return nil, badQuery("The condition operator 'between' needs two values.")
	}
	from, err := compare(o, "ge", fetchLiteral(o.column, values[0]))
	if err != nil {
		return nil, err
	}
	to, err := compare(o, "le", fetchLiteral(o.column, values[1]))
	return all(from, to), err
}

// fetchLiteral gives a value of FetchXML, which is plain text, as a literal of
// OData for a column.
func fetchLiteral(c *column, value string) string {
	switch c.kind {
	case kindText, kindMemo:
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	case kindBoolean:
		switch value {
		case "1":
			return "true"
		case "0":
			return "false"
		}
	case kindGUID, kindLookup:
		return strings.Trim(value, "{}")
	}
	if value == "null" {
		return "" // in FetchXML the word has no meaning of its own
	}
	return value
}
