package odata

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// reference rewrites a whole, valid JSON document by parsing it: slow, and sharing nothing with the editors.
type reference struct {
	in     string
	dec    *json.Decoder
	base   *regexp.Regexp
	public *regexp.Regexp // of those bases behind which doubled slashes are joined; nil for none
	to     string
	out    strings.Builder
	copied int
}

var controlMember = regexp.MustCompile(`(?s)^.*@odata\.(id|bind|context|nextLink|deltaLink|editLink|readLink|mediaReadLink|mediaEditLink|navigationLink|associationLink)$`)

func newReference(in, to string, bases ...string) *reference {
	dec := json.NewDecoder(strings.NewReader(in))
	dec.UseNumber() // some are beyond every other type
	return &reference{in: in, dec: dec, base: oneOf(bases), to: to}
}

func oneOf(bases []string) *regexp.Regexp {
	var patterns []string
	for _, base := range bases {
		scheme, rest, _ := strings.Cut(base, "://")
		host, path, _ := strings.Cut(rest, "/")
		pattern := scheme + "://" + regexp.QuoteMeta(host)
		if !strings.Contains(strings.ReplaceAll(host, "[::1]", ""), ":") {
			pattern = "(https://" + regexp.QuoteMeta(host) + "(:443|:)?|http://" + regexp.QuoteMeta(host) + "(:80|:)?)"
		} else {
			pattern = strings.Replace(pattern, scheme, "https?", 1)
		}
		if path != "" {
			pattern += "/" + regexp.QuoteMeta(path)
		}
		patterns = append(patterns, pattern)
	}
	// [ -~] keeps case folding from letting other letters than ASCII's stand for these.
	return regexp.MustCompile(`(?i)^(` + strings.Join(patterns, "|") + `)([/?#]|$)`)
}

// joining lets slashes that are doubled behind bases be joined.
func (r *reference) joining(bases ...string) *reference {
	r.public = oneOf(bases)
	return r
}

func (r *reference) rewrite() string {
	r.value(false)
	r.out.WriteString(r.in[r.copied:])
	return r.out.String()
}

// value reads one value; control tells that it belongs to a control name. It reports whether it was a string.
func (r *reference) value(control bool) bool {
	from := int(r.dec.InputOffset())
	token, err := r.dec.Token()
	if err != nil {
		panic(err)
	}
	switch token := token.(type) {
	case string:
		if control {
			r.link(from, token)
		}
		return true
	case json.Delim:
		r.nested(token, control)
	}
	return false
}

func (r *reference) nested(open json.Delim, control bool) {
	for r.dec.More() {
		if open == '[' {
			control = r.value(control) && control
			continue
		}
		name, _ := r.dec.Token()
		r.member(controlMember.MatchString(name.(string)))
	}
	r.dec.Token()
}

func (r *reference) member(control bool) {
	if !control {
		r.value(false)
		return
	}
	rest := r.in[r.dec.InputOffset():]
	list := strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n:"), "[")
	if !list {
		r.value(true)
		return
	}
	r.dec.Token()
	for r.dec.More() {
		control = r.flat(control)
	}
	r.dec.Token()
}

// flat reads an element of an array of links. Links end at the first that is no string.
func (r *reference) flat(control bool) bool {
	rest := strings.TrimLeft(r.in[r.dec.InputOffset():], " \t\r\n,")
	return r.value(control && rest[0] == '"') && control
}

// link swaps the base of the string that was read from position from on.
func (r *reference) link(from int, text string) {
	found := r.base.FindStringSubmatch(text)
	if found == nil || !ascii(found[1]) {
		return
	}
	for r.in[from] != '"' {
		from++
	}
	from++
	base := found[1]
	if r.public != nil && r.public.MatchString(text) {
		for strings.HasPrefix(text[len(base):], "//") {
			base += "/"
		}
	}
	n := 0
	for decoded := ""; decoded != base; {
		n++
		decoded = ""
		if err := json.Unmarshal([]byte(`"`+r.in[from:from+n]+`"`), &decoded); err != nil {
			decoded = ""
		}
	}
	raw := r.in[from : from+n]
	r.out.WriteString(r.in[r.copied:from])
	r.out.WriteString(strings.ReplaceAll(r.to, "/", slashOf(raw)))
	r.copied = from + n
}

func slashOf(raw string) string {
	slash := regexp.MustCompile(`\\/|\\u002[fF]|/`).FindAllString(raw, -1)
	for _, want := range []string{`\/`, `/`, `\u002f`, `\u002F`} {
		for _, s := range slash {
			if s == want {
				return want
			}
		}
	}
	return "/"
}

func ascii(s string) bool {
	return !bytes.ContainsFunc([]byte(s), func(c rune) bool { return c > 0x7e })
}
