package dataverse

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// money is an amount in ten-thousandths, so that no amount is ever rounded.
type money int64

// String gives four decimals, as Dataverse writes money.
func (m money) String() string {
	sign, v := "", uint64(m)
	if m < 0 {
		sign, v = "-", -v
	}
	return fmt.Sprintf("%s%d.%04d", sign, v/10000, v%10000)
}

// date is a day without time or zone, as YYYY-MM-DD.
type date string

func (d date) String() string { return string(d) }

// reference is the value of a lookup.
type reference struct {
	table string // logical name
	id    string
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// parseGUID gives a GUID in lower case; ok is false when s is none. Braces are
// not accepted: the Web API does not take them.
func parseGUID(s string) (id string, ok bool) {
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return "", false
			}
		case !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)):
			return "", false
		}
	}
	return strings.ToLower(s), true
}

func parseDate(s string) (date, bool) {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return "", false
	}
	return date(s), true
}

// parseTime reads an instant, whole seconds kept, since the platform keeps no
// more.
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, false
	}
	return t.UTC().Truncate(time.Second), true
}

// coerce turns a decoded JSON value into a value of column c of table t, or
// says why it is none.
func coerce(t *table, c *column, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch v := v.(type) {
	case string:
		return coerceText(t, c, v)
	case bool:
		if c.kind == kindBoolean {
			return v, nil
		}
	case json.Number:
		return coerceNumber(t, c, v.String())
	}
	return nil, misfit(t, c, v)
}

func misfit(t *table, c *column, v any) error {
	return badPayload(t, "Cannot convert the value '%v' of the property '%s' to the expected type '%s'.", v, c.wire(), edm[c.kind])
}

func coerceText(t *table, c *column, s string) (any, error) {
	switch c.kind {
	case kindText, kindMemo:
		if n := utf8.RuneCountInString(s); c.max > 0 && n > c.max {
			return nil, faultf(400, "0x80044331", "A validation error occurred. The length of the '%s' attribute of the '%s' entity exceeded the maximum allowed length of '%d'.", c.name, t.name, c.max)
		}
		return s, nil
	case kindInstant:
		if at, ok := parseTime(s); ok {
			return at, nil
		}
	case kindDate:
		if d, ok := parseDate(s); ok {
			return d, nil
		}
	case kindGUID:
		if id, ok := parseGUID(s); ok {
			return id, nil
		}
	}
	return nil, misfit(t, c, s)
}

func coerceNumber(t *table, c *column, s string) (any, error) {
	switch c.kind {
	case kindWhole, kindChoice:
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			break
		}
		if c.kind == kindChoice {
			if _, ok := c.label(n); !ok {
				return nil, faultf(400, "0x80048408", "A validation error occurred. The value %d of '%s' on record of type '%s' is outside the valid range.", n, c.name, t.name)
			}
		}
		return n, nil
	case kindDouble:
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, nil
		}
	case kindMoney:
		if m, ok := parseMoney(s); ok {
			return m, nil
		}
	}
	return nil, misfit(t, c, s)
}

// parseMoney reads an amount exactly; ok is false when it has more than four
// decimals or is out of range.
func parseMoney(s string) (m money, ok bool) {
	r, ok := number(s)
	if !ok {
		return 0, false
	}
	r.Mul(r, big.NewRat(10000, 1))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return money(r.Num().Int64()), true
}

var decimalForm = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][+-]?\d+)?$`)

// number reads a decimal literal exactly. Exponents are bounded: a short text
// must not become a number of a million digits.
func number(s string) (*big.Rat, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) > 1e30 || len(s) > 64 || !decimalForm.MatchString(s) {
		return nil, false
	}
	if _, exp, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if n, err := strconv.Atoi(exp); err != nil || n < -60 || n > 30 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}

// formatted is what people see of a value (its FormattedValue annotation); ok
// is false for kinds that have none.
func formatted(c *column, v any) (text string, ok bool) {
	switch v := v.(type) {
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		return c.label(n)
	case int64:
		if c.kind == kindChoice {
			return c.label(v)
		}
		return grouped(strconv.FormatInt(v, 10)), true
	case float64:
		return grouped(strconv.FormatFloat(v, 'f', 5, 64)), true
	case money:
		whole, cents, _ := strings.Cut(v.String(), ".")
		if sign, digits, found := strings.Cut(whole, "-"); found {
			return sign + "-$" + grouped(digits) + "." + cents[:2], true
		}
		return "$" + grouped(whole) + "." + cents[:2], true
	case time.Time:
		return v.Format("1/2/2006 3:04 PM"), true
	case date:
		at, err := time.Parse(time.DateOnly, string(v))
		return at.Format("1/2/2006"), err == nil
	}
	return "", false
}

// grouped puts commas between the thousands of a decimal number.
func grouped(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	first := 0
	if strings.HasPrefix(whole, "-") {
		first = 1
	}
	for i := len(whole) - 3; i > first; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest == "" {
		return whole
	}
	return whole + "." + rest
}
