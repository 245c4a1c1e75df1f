package odata

import (
	"net/url"
	"strings"
)

// QueryToOrg returns a raw query with the links in it led to the organization:
// the value of $id, and @odata.id in the value of a parameter alias
// (@p={'@odata.id':'...'}). Links are understood raw and percent-encoded and
// keep their form; every other byte stays.
func (r *Rewriter) QueryToOrg(query string) string {
	if !strings.Contains(query, "$id") && !strings.Contains(query, "24id") && !strings.Contains(query, "odata") {
		return query
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		name, value, ok := strings.Cut(param, "=")
		if !ok {
			continue
		}
		plain, err := url.QueryUnescape(name)
		switch {
		case err != nil:
		case strings.EqualFold(plain, "$id"):
			params[i] = name + "=" + r.encodedToOrg(value, 0)
		case strings.HasPrefix(plain, "@"):
			params[i] = name + "=" + r.aliasToOrg(value)
		}
	}
	return strings.Join(params, "&")
}

// encodedToOrg rewrites the link that begins at byte from of value.
func (r *Rewriter) encodedToOrg(value string, from int) string {
	plain, at := unescapeQuery(value[from:])
	n := r.anyBase(linkIn(plain))
	if n == 0 {
		return value
	}
	old, org := value[from:from+at[n]], r.Org
	if strings.Contains(old, "%") {
		org = url.QueryEscape(org)
	}
	return value[:from] + org + value[from+at[n]:]
}

// linkIn cuts a link off at the quote that ends it inside a literal.
func linkIn(s string) string {
	if end := strings.IndexAny(s, `'"`); end >= 0 {
		return s[:end]
	}
	return s
}

// aliasToOrg rewrites every @odata.id in a parameter's value.
func (r *Rewriter) aliasToOrg(value string) string {
	plain, at := unescapeQuery(value)
	for end := len(plain); ; {
		// From the back, so that what is found in front keeps its place.
		key := strings.LastIndex(plain[:end], "@odata.id")
		if key < 0 {
			return value
		}
		end = key
		rest := plain[key+len("@odata.id"):]
		if rest == "" || rest[0] != '\'' && rest[0] != '"' {
			continue
		}
		rest = strings.TrimLeft(rest[1:], " \t\r\n")
		if !strings.HasPrefix(rest, ":") {
			continue
		}
		rest = strings.TrimLeft(rest[1:], " \t\r\n")
		if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
			value = r.encodedToOrg(value, at[len(plain)-len(rest)+1])
		}
	}
}

// unescapeQuery decodes s as far as it can be decoded. at[i] is where byte i of
// the result begins in s, with at[len(result)] == len(s).
func unescapeQuery(s string) (string, []int) {
	var b strings.Builder
	at := make([]int, 0, len(s)+1)
	for i := 0; i < len(s); {
		at = append(at, i)
		if c := s[i]; c == '%' && i+2 < len(s) {
			if n, ok := hexByte(s[i+1], s[i+2]); ok {
				b.WriteByte(n)
				i += 3
				continue
			}
		} else if c == '+' {
			b.WriteByte(' ')
			i++
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String(), append(at, len(s))
}

func hexByte(a, b byte) (byte, bool) {
	hi, ok1 := hexDigit(a)
	lo, ok2 := hexDigit(b)
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
