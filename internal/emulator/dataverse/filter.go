package dataverse

import (
	"fmt"
	"slices"
	"strings"
)

// predicate decides whether a row is meant.
type predicate func(d *store, r *row) bool

// filterDepth bounds nesting: a filter is read recursively.
const filterDepth = 100

// filterParser reads a $filter by recursive descent: or, and, not, comparison.
type filterParser struct {
	schema *schema
	table  *table
	params options
	text   string
	tokens []token
	at     int
	depth  int
}

// token is one word of a filter: a string literal with its quotes, one of
// "(),", or a run of anything else.
type token struct {
	text string
	pos  int
}

// parseFilter reads a $filter on table t.
func parseFilter(s *schema, t *table, text string, params options) (predicate, error) {
	tokens, err := lexFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{schema: s, table: t, params: params, text: text, tokens: tokens}
	out, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, p.syntax()
	}
	return out, nil
}

func lexFilter(text string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '(' || c == ')' || c == ',':
			i++
		case c == '\'':
			end := endOfString(text, i)
			if end < 0 {
				return nil, badQuery("There is an unterminated string literal at position %d in '%s'.", len(text), text)
			}
			i = end
		default:
			for i < len(text) && !strings.ContainsRune(" \t\r\n(),'", rune(text[i])) {
				i++
			}
		}
		tokens = append(tokens, token{text[start:i], start})
	}
	return tokens, nil
}

// endOfString gives the index after the string literal that begins at i, or -1.
func endOfString(text string, i int) int {
	for i++; i < len(text); i++ {
		if text[i] != '\'' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return -1
}

func (p *filterParser) syntax() error {
	pos := len(p.text)
	if p.at < len(p.tokens) {
		pos = p.tokens[p.at].pos
	}
	return badQuery("Syntax error at position %d in '%s'.", pos, p.text)
}

// peek gives the next token's text, "" at the end.
func (p *filterParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at].text
	}
	return ""
}

// take consumes the next token if it is want.
func (p *filterParser) take(want string) bool {
	if p.peek() != want {
		return false
	}
	p.at++
	return true
}

func (p *filterParser) or() (predicate, error) {
	left, err := p.and()
	for err == nil && p.take("or") {
		var right predicate
		a := left
		right, err = p.and()
		left = func(d *store, r *row) bool { return a(d, r) || right(d, r) }
	}
	return left, err
}

func (p *filterParser) and() (predicate, error) {
	left, err := p.unary()
	for err == nil && p.take("and") {
		var right predicate
		a := left
		right, err = p.unary()
		left = func(d *store, r *row) bool { return a(d, r) && right(d, r) }
	}
	return left, err
}

func (p *filterParser) unary() (predicate, error) {
	if p.depth++; p.depth > filterDepth {
		return nil, badQuery("Recursion limit reached.")
	}
	defer func() { p.depth-- }()
	if p.take("not") {
		inner, err := p.unary()
		return func(d *store, r *row) bool { return !inner(d, r) }, err
	}
	if p.take("(") {
		inner, err := p.or()
		if err == nil && !p.take(")") {
			err = p.syntax()
		}
		return inner, err
	}
	return p.comparison()
}

// comparison reads "column op literal" or a function call.
func (p *filterParser) comparison() (predicate, error) {
	word := p.peek()
	if word == "" || strings.ContainsAny(word[:1], "(),'") {
		return nil, p.syntax()
	}
	p.at++
	if p.peek() == "(" {
		return p.function(word)
	}
	field, err := parseOperand(p.schema, p.table, word)
	if err != nil {
		return nil, err
	}
	op := p.peek()
	if !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, op) {
		if slices.Contains([]string{"in", "has", "add", "sub", "mul", "div", "mod"}, op) {
			return nil, notImplemented("The operator '%s' is not supported in $filter.", op)
		}
		return nil, p.syntax()
	}
	p.at++
	text, err := p.literal()
	if err != nil {
		return nil, err
	}
	return compare(field, op, text)
}

// literal takes a literal, or the literal that a parameter stands for.
func (p *filterParser) literal() (string, error) {
	text := p.peek()
	if text == "" || strings.ContainsAny(text[:1], "(),") {
		return "", p.syntax()
	}
	p.at++
	if p.peek() == "(" {
		return "", notImplemented("A function on the right side of a comparison is not supported in $filter.")
	}
	return p.params.parameter(text)
}

// function reads the call of a function whose name is consumed already.
func (p *filterParser) function(name string) (predicate, error) {
	if strings.HasPrefix(name, "Microsoft.Dynamics.CRM.") {
		return nil, notImplemented("The query function '%s' is not supported.", name)
	}
	if strings.HasSuffix(name, "/any") || strings.HasSuffix(name, "/all") {
		return nil, notImplemented("The lambda operator in '%s' is not supported.", name)
	}
	patterns := map[string]string{"contains": "%%%s%%", "startswith": "%s%%", "endswith": "%%%s"}
	pattern, ok := patterns[name]
	if !ok {
		return nil, notImplemented("The function '%s' is not supported in $filter.", name)
	}
	p.at++
	field, err := parseOperand(p.schema, p.table, p.peek())
	if err != nil {
		return nil, err
	}
	p.at++
	if !p.take(",") {
		return nil, p.syntax()
	}
	text, err := p.literal()
	if err != nil {
		return nil, err
	}
	value, isText := unquote(text)
	if !isText || field.column.kind != kindText && field.column.kind != kindMemo {
		return nil, badQuery("No function signature for the function with name '%s' matches the specified arguments.", name)
	}
	if !p.take(")") {
		return nil, p.syntax()
	}
	return matches(field, fmt.Sprintf(pattern, value)), nil
}
