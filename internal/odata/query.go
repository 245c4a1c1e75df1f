package odata

import "strings"

// QueryToOrg gives a raw query with the links in it in the organization's own form: the value of $id, and the control
// links (@odata.id) in objects handed to a function as @parameter. Links may be percent-encoded or not, and stay so. All
// other bytes are rawQuery's. The error is a *ForeignLink.
func (r *Rewriter) QueryToOrg(rawQuery string) (string, error) {
	if !strings.ContainsAny(rawQuery, "@%") && !holdsID(rawQuery) {
		return rawQuery, nil
	}
	q := query{mapping: r.toOrg()}
	var b strings.Builder
	for rest := rawQuery; rest != ""; {
		param := rest
		if i := strings.IndexByte(rest, '&'); i >= 0 {
			param = rest[:i+1]
		}
		rest = rest[len(param):]
		b.WriteString(q.param(param))
	}
	return b.String(), q.foreign
}

// holdsID reports whether a query without escapes may hold $id.
func holdsID(rawQuery string) bool {
	for i := range len(rawQuery) {
		if rawQuery[i] == '$' && foldAt(rawQuery, i, "$id") {
			return true
		}
	}
	return false
}

// query swaps the links of one query.
type query struct {
	mapping mapping
	foreign error // the first *ForeignLink
}

// param gives one parameter, with the '&' behind it, in the organization's form.
func (q *query) param(param string) string {
	name, value, ok := strings.Cut(strings.TrimSuffix(param, "&"), "=")
	if !ok {
		return param
	}
	at := len(name) + 1
	plainName := name
	if strings.Contains(name, "%") {
		plainName = string(percentDecode(name).text)
	}
	switch {
	case strings.EqualFold(plainName, "$id"):
		return param[:at] + q.percentSwap(value) + param[at+len(value):]
	case strings.HasPrefix(plainName, "@"):
		return param[:at] + q.paramObject(value) + param[at+len(value):]
	}
	return param
}

// percentSwap gives a whole link of a query in the organization's form.
func (q *query) percentSwap(link string) string {
	d := percentDecode(link)
	f := find(&q.mapping, d.text)
	switch {
	case f.n < 0:
		return link
	case f.foreign:
		if q.foreign == nil {
			q.foreign = &ForeignLink{string(d.text[:f.n])}
		}
		return link
	}
	return d.swap(link, f.n, q.mapping.to)
}

// paramObject gives the value of a parameter with the control links of the object or array that it is. Names and links
// may stand in single quotes, as OData writes strings, or in double quotes, as JSON does.
func (q *query) paramObject(value string) string {
	d := percentDecode(value)
	first := strings.TrimLeft(string(d.text), " \t\r\n+")
	if first == "" || first[0] != '{' && first[0] != '[' {
		return value
	}
	var b strings.Builder
	done := 0
	for _, s := range controlStrings(d.text) {
		from, to := d.ends[s.from-1], d.ends[s.to-1]
		b.WriteString(value[done:from])
		b.WriteString(q.percentSwap(value[from:to]))
		done = to
	}
	b.WriteString(value[done:])
	return b.String()
}

// span is a part of a text: from its first byte to behind its last.
type span struct{ from, to int }

// controlStrings finds the links that are values of control names: a string each, or an array of strings.
func controlStrings(s []byte) []span {
	var found []span
	control, list := false, false
	for at := 0; at < len(s); {
		switch c := s[at]; {
		case c == '"' || c == '\'':
			str := span{at + 1, closing(s, at)}
			at = min(str.to+1, len(s))
			if next := skipBlank(s, at); next < len(s) && s[next] == ':' {
				control, list = isControlSuffix(s[str.from:str.to]), false
				at = next + 1
				continue
			}
			if control && str.from < str.to {
				found = append(found, str)
			}
			control = control && list
		case c == '[' && control && !list:
			list, at = true, at+1
		case c == ',' && list || blank(c):
			at++
		default:
			control, list, at = false, false, at+1
		}
	}
	return found
}

// closing gives where the string that opens at position at ends. A quote is doubled in single quotes, and escaped in
// double ones.
func closing(s []byte, at int) int {
	quote := s[at]
	for i := at + 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == '"':
			i++
		case s[i] == quote && quote == '\'' && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i
		}
	}
	return len(s)
}

func isControlSuffix(name []byte) bool {
	i := strings.LastIndexByte(string(name), '@')
	return i >= 0 && isControl(name[i:])
}

func skipBlank(s []byte, at int) int {
	for at < len(s) && blank(s[at]) {
		at++
	}
	return at
}

// blank tells white space, as a decoded query may write it.
func blank(c byte) bool {
	return c == '+' || space(c)
}
