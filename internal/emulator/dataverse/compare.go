package dataverse

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// operand is a column, or one of a record that lookups lead to.
type operand struct {
	path   []*single
	column *column
}

// parseOperand reads "column" or "lookup/column".
func parseOperand(s *schema, t *table, text string) (operand, error) {
	var out operand
	names := strings.Split(text, "/")
	for _, name := range names[:len(names)-1] {
		nav := t.single(name)
		if nav == nil {
			return operand{}, noProperty(t, name)
		}
		out.path = append(out.path, nav)
		t = s.table(nav.target)
	}
	last := names[len(names)-1]
	if out.column = t.column(last); out.column == nil {
		return operand{}, noProperty(t, last)
	}
	return out, nil
}

// value gives the operand's value for row r, nil for null.
func (o operand) value(d *store, r *row) any {
	for _, nav := range o.path {
		led, ok := r.values[nav.column].(reference)
		if !ok || led.table != nav.target {
			return nil
		}
		if r = d.find(d.schema.table(led.table), led.id); r == nil {
			return nil
		}
	}
	return r.values[o.column.name]
}

// compare builds a comparison with a literal. As in the database, text is
// compared without regard to case; a null is unequal to every value and neither
// less nor greater than any.
func compare(o operand, op, literal string) (predicate, error) {
	equality := op == "eq" || op == "ne"
	if literal == "null" {
		if !equality {
			return nil, badQuery("The operator '%s' cannot be used with null.", op)
		}
		return func(d *store, r *row) bool { return (o.value(d, r) == nil) == (op == "eq") }, nil
	}
	against, ordered, ok := comparer(o.column, literal)
	if !ok {
		return nil, badQuery("A binary operator with incompatible types was detected. The value %s does not fit '%s' of type '%s' for operator '%s'.", literal, o.column.wire(), edm[o.column.kind], op)
	}
	if !ordered && !equality {
		return nil, badQuery("The operator '%s' cannot be applied to '%s' of type '%s'.", op, o.column.wire(), edm[o.column.kind])
	}
	return func(d *store, r *row) bool {
		v := o.value(d, r)
		if v == nil {
			return op == "ne"
		}
		return holds(op, against(v))
	}, nil
}

// holds reports whether an order of -1, 0 or 1 satisfies op.
func holds(op string, order int) bool {
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	}
	return order <= 0
}

// comparer gives a function that orders a column's value against a literal of
// OData. ordered tells whether less and greater mean something; ok whether the
// literal fits the column at all.
func comparer(c *column, literal string) (against func(v any) int, ordered, ok bool) {
	switch c.kind {
	case kindText, kindMemo:
		s, ok := unquote(literal)
		folded := strings.ToLower(s)
		return func(v any) int { return cmp.Compare(strings.ToLower(v.(string)), folded) }, true, ok
	case kindDouble:
		// A double is compared as one: 0.1 is not the tenth that the literal says.
		n, err := strconv.ParseFloat(literal, 64)
		return func(v any) int { return cmp.Compare(v.(float64), n) }, true, err == nil && decimalForm.MatchString(literal)
	case kindWhole, kindChoice, kindMoney, kindRowNumber:
		n, ok := number(literal)
		return func(v any) int { return rational(v).Cmp(n) }, true, ok
	case kindBoolean:
		return func(v any) int { return boolOrder(v.(bool), literal == "true") }, false, literal == "true" || literal == "false"
	case kindInstant:
		at, ok := parseTime(literal)
		if day, isDay := parseDate(literal); isDay {
			at, _ = time.Parse(time.DateOnly, string(day))
			ok = true
		}
		return func(v any) int { return v.(time.Time).Compare(at) }, true, ok
	case kindDate:
		day, ok := parseDate(literal)
		return func(v any) int { return cmp.Compare(v.(date), day) }, true, ok
	case kindGUID, kindLookup:
		id, ok := parseGUID(literal)
		return func(v any) int { return cmp.Compare(identifier(v), id) }, false, ok
	}
	return nil, false, false
}

func boolOrder(a, b bool) int {
	if a == b {
		return 0
	}
	return 1
}

// identifier gives the id in a value of a GUID or lookup column.
func identifier(v any) string {
	if led, ok := v.(reference); ok {
		return led.id
	}
	return v.(string)
}

// rational gives a numeric value exactly.
func rational(v any) *big.Rat {
	switch v := v.(type) {
	case int64:
		return new(big.Rat).SetInt64(v)
	case money:
		return big.NewRat(int64(v), 10000)
	}
	panic(fmt.Sprintf("dataverse: %T is not an exact number", v))
}

// matches builds a LIKE: '%' stands for any text, '_' for any character, as
// Dataverse lets its own wildcards through.
func matches(o operand, pattern string) predicate {
	want := []rune(strings.ToLower(pattern))
	return func(d *store, r *row) bool {
		s, ok := o.value(d, r).(string)
		return ok && like([]rune(strings.ToLower(s)), want)
	}
}

// like matches s against a pattern, going back to the last '%' only, so that
// no pattern takes more than len(s)*len(pattern) steps.
func like(s, pattern []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '%':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '_' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(pattern) && pattern[j] == '%' {
		j++
	}
	return j == len(pattern)
}

// ordering is one item of $orderby.
type ordering struct {
	operand
	descending bool
}

// parseOrder reads "name desc,createdon".
func parseOrder(s *schema, t *table, text string) ([]ordering, error) {
	var out []ordering
	for item := range strings.SplitSeq(text, ",") {
		words := strings.Fields(item)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "asc" && words[1] != "desc" {
			return nil, badQuery("Syntax error in $orderby '%s'.", text)
		}
		if strings.Contains(words[0], "(") {
			return nil, notImplemented("The expression '%s' is not supported in $orderby.", words[0])
		}
		o, err := parseOperand(s, t, words[0])
		if err != nil {
			return nil, err
		}
		out = append(out, ordering{o, len(words) == 2 && words[1] == "desc"})
	}
	return out, nil
}

// sortRows puts rows in the given order; rows that are equal in it stay in
// order of creation.
func (d *store) sortRows(rows []*row, order []ordering) {
	if len(order) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return d.compareRows(order, a, b) })
}

// compareRows orders two rows; 0 means that their order of creation decides.
func (d *store) compareRows(order []ordering, a, b *row) int {
	for _, o := range order {
		if by := compareOrder(d.sortValue(o, a), d.sortValue(o, b)); by != 0 {
			if o.descending {
				return -by
			}
			return by
		}
	}
	return 0
}

// sortValue is what a row is ordered by: the label of a choice and the name of
// a lookup's record rather than their numbers, as Dataverse orders.
func (d *store) sortValue(o ordering, r *row) any {
	v := o.value(d, r)
	switch v := v.(type) {
	case reference:
		return d.title(v)
	case int64:
		if o.column.kind == kindChoice {
			label, _ := o.column.label(v)
			return label
		}
	}
	return v
}

// compareOrder orders two values of one column, nulls first.
func compareOrder(a, b any) int {
	if a == nil || b == nil {
		return boolOrderNull(a == nil, b == nil)
	}
	switch a := a.(type) {
	case string:
		return cmp.Compare(strings.ToLower(a), strings.ToLower(b.(string)))
	case int64:
		return cmp.Compare(a, b.(int64))
	case money:
		return cmp.Compare(a, b.(money))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case date:
		return cmp.Compare(a, b.(date))
	case bool:
		return boolOrderNull(b.(bool), a)
	}
	return 0
}

// boolOrderNull puts what is first before what is not.
func boolOrderNull(first, other bool) int {
	switch {
	case first == other:
		return 0
	case first:
		return -1
	}
	return 1
}

// title gives the primary name of the record that a reference leads to.
func (d *store) title(ref reference) any {
	t := d.schema.table(ref.table)
	if r := d.find(t, ref.id); r != nil {
		return r.values[t.title]
	}
	return nil
}
