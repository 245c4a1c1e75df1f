package soap

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// startTag reads from the name of an element to the end of its tag, and pushes
// it.
func (s *scanner) startTag() error {
	switch {
	case s.over:
		return unreadable("there is something behind the envelope")
	case len(s.stack) == maxDepth:
		return errDeep
	}
	raw, err := s.rawName()
	if err != nil {
		return err
	}
	attrs, end, err := s.attributes()
	if err != nil {
		return err
	}
	if end == '/' {
		if c, err := s.r.ReadByte(); err != nil {
			return err
		} else if c != '>' {
			return errSyntax
		}
		s.empty = true
	} else if end != '>' {
		return errSyntax
	}
	e := element{raw: raw, attrs: attrs, bindings: len(s.spaces)}
	if err := s.expand(&e); err != nil {
		return err
	}
	s.stack = append(s.stack, e)
	return nil
}

func (s *scanner) endTag() error {
	raw, err := s.rawName()
	if err != nil {
		return err
	}
	c, err := s.skipSpace()
	if err != nil {
		return err
	}
	if c != '>' || len(s.stack) == 0 || s.stack[len(s.stack)-1].raw != raw {
		return errSyntax
	}
	return nil
}

// rawName reads a name with its prefix. The names of the service are ASCII.
func (s *scanner) rawName() (string, error) {
	var b []byte
	for {
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case isNameStart(c) || len(b) > 0 && (c == ':' || c == '-' || c == '.' || '0' <= c && c <= '9'):
			b = append(b, c)
		case len(b) == 0 || c >= utf8.RuneSelf:
			return "", errSyntax
		default:
			s.r.UnreadByte()
			return string(b), wellNamed(b)
		}
		if len(b) > maxName {
			return "", errLong
		}
	}
}

// wellNamed allows one colon, with a name on each of its sides.
func wellNamed(raw []byte) error {
	prefix, local, colon := strings.Cut(string(raw), ":")
	if colon && (strings.Contains(local, ":") || local == "" || !isNameStart(local[0]) || prefix == "") {
		return errSyntax
	}
	return nil
}

func isNameStart(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// attributes reads up to what ends a tag: '>', '/' or '?'.
func (s *scanner) attributes() (attrs []attribute, end byte, err error) {
	for {
		before, err := s.r.Peek(1)
		if err != nil {
			return nil, 0, err
		}
		apart := isSpace(before[0])
		c, err := s.skipSpace()
		switch {
		case err != nil:
			return nil, 0, err
		case c == '>', c == '/', c == '?':
			return attrs, c, nil
		case !apart:
			return nil, 0, errSyntax
		case len(attrs) == maxAttributes:
			return nil, 0, errTwice
		}
		s.r.UnreadByte()
		a, err := s.attribute()
		if err != nil {
			return nil, 0, err
		}
		attrs = append(attrs, a)
	}
}

func (s *scanner) attribute() (a attribute, err error) {
	if a.raw, err = s.rawName(); err != nil {
		return a, err
	}
	c, err := s.skipSpace()
	if err != nil {
		return a, err
	}
	if c != '=' {
		return a, errSyntax
	}
	quote, err := s.skipSpace()
	if err != nil {
		return a, err
	}
	if quote != '"' && quote != '\'' {
		return a, errSyntax
	}
	a.value, err = s.attributeValue(quote)
	return a, err
}

func (s *scanner) attributeValue(quote byte) (string, error) {
	var b []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		r := rune(c)
		switch {
		case c == quote:
			return string(b), nil
		case c == '<':
			return "", errSyntax
		case c == '&':
			r, err = s.reference()
		case isSpace(c):
			r = ' '
		case c < ' ' || c >= utf8.RuneSelf:
			r, err = s.rune()
		}
		if err != nil {
			return "", err
		}
		if b = utf8.AppendRune(b, r); len(b) > maxValue {
			return "", errLong
		}
	}
}

// reference reads what stands between '&' and ';'.
func (s *scanner) reference() (rune, error) {
	var b []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if c == ';' {
			break
		}
		if b = append(b, c); len(b) > 10 {
			return 0, errEntity
		}
	}
	switch string(b) {
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "amp":
		return '&', nil
	case "apos":
		return '\'', nil
	case "quot":
		return '"', nil
	}
	digits, number := strings.CutPrefix(string(b), "#")
	base := 10
	if hex, is := strings.CutPrefix(digits, "x"); is {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if !number || err != nil || n > utf8.MaxRune {
		return 0, errEntity
	}
	if !isCharacter(rune(n)) {
		return 0, errCharacter
	}
	return rune(n), nil
}

func (s *scanner) skipSpace() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil || !isSpace(c) {
			return c, err
		}
	}
}

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// expand gives e and its attributes their namespaces, and drops the
// declarations.
func (s *scanner) expand(e *element) error {
	for i, a := range e.attrs {
		if slices.ContainsFunc(e.attrs[:i], func(b attribute) bool { return a.raw == b.raw }) {
			return errTwice
		}
		prefix, declared := strings.CutPrefix(a.raw, "xmlns:")
		if !declared && a.raw != "xmlns" {
			continue
		}
		if !declared {
			prefix = ""
		}
		if a.value == xmlnsSpace || prefix == "xmlns" || (prefix == "xml") != (a.value == xmlSpace) || declared && a.value == "" {
			return errPrefix
		}
		s.spaces = append(s.spaces, binding{prefix, a.value})
	}
	e.attrs = slices.DeleteFunc(e.attrs, func(a attribute) bool { return a.raw == "xmlns" || strings.HasPrefix(a.raw, "xmlns:") })
	var err error
	if e.name, err = s.resolve(e.raw, true); err != nil {
		return err
	}
	for i := range e.attrs {
		a := &e.attrs[i]
		if a.name, err = s.resolve(a.raw, false); err != nil {
			return err
		}
		if slices.ContainsFunc(e.attrs[:i], func(b attribute) bool { return a.name == b.name }) {
			return errTwice
		}
	}
	return nil
}

func (s *scanner) resolve(raw string, element bool) (name, error) {
	prefix, local, colon := strings.Cut(raw, ":")
	switch {
	case !colon && !element:
		return name{local: raw}, nil
	case !colon:
		prefix, local = "", raw
	case prefix == "xml":
		return name{xmlSpace, local}, nil
	}
	for _, b := range slices.Backward(s.spaces) {
		if b.prefix == prefix {
			return name{b.space, local}, nil
		}
	}
	if colon {
		return name{}, errPrefix
	}
	return name{local: local}, nil
}
