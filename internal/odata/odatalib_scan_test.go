package odata

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
)

func (r *libReader) boundaries() []string {
	if r.changes != "" {
		return []string{r.changes, r.batch}
	}
	return []string{r.batch}
}

func (r *libReader) scanForBoundary(most int) (result scanned, from, to int, end, parent bool, err error) {
	start := r.pos
	for {
		found, lineEnd, dashes := r.scanForBoundaryStart(start, most)
		if found == scanNone {
			return scanNone, -1, -1, false, false, nil
		}
		if found == scanPartial {
			if lineEnd < 0 {
				lineEnd = dashes
			}
			return scanPartial, lineEnd, -1, false, false, nil
		}
		for i, boundary := range r.boundaries() {
			result, from, to, end, err := r.matchBoundary(lineEnd, dashes, boundary)
			if err != nil || result != scanNone {
				return result, from, to, end, i > 0, err
			}
		}
		if start == dashes {
			start = dashes + 1
		} else {
			start = dashes
		}
	}
}

func (r *libReader) scanForBoundaryStart(start, most int) (result scanned, lineEnd, dashes int) {
	last := r.pos + min(most, r.n) - 1
	for i := start; i <= last; i++ {
		switch c := r.buf[i]; {
		case c == '\r' || c == '\n':
			if c == '\r' && i == last && most >= r.n {
				return scanPartial, i, i
			}
			if c == '\r' && r.buf[i+1] == '\n' {
				return scanMatch, i, i + 2
			}
			return scanMatch, i, i + 1
		case c == '-':
			if i == last && most >= r.n {
				return scanPartial, -1, i
			}
			if r.buf[i+1] == '-' {
				return scanMatch, -1, i
			}
		}
	}
	return scanNone, -1, -1
}

func (r *libReader) scanForLineEnd(start, most int, blankOnly bool) (result scanned, from, to int, endOfBuffer bool) {
	last := r.pos + min(most, r.n) - 1
	for i := start; i <= last; i++ {
		c := r.buf[i]
		if c == '\r' || c == '\n' {
			if c == '\r' && i == last && most >= r.n {
				return scanPartial, i, -1, false
			}
			if c == '\r' && r.buf[i+1] == '\n' {
				return scanMatch, i, i + 1, false
			}
			return scanMatch, i, i, false
		}
		if blankOnly && !unicode.IsSpace(rune(c)) {
			return scanNone, -1, -1, false
		}
	}
	return scanNone, -1, -1, true
}

var errBlanks = fmt.Errorf("%w: too many blanks behind a boundary", errLib)

func (r *libReader) matchBoundary(lineEnd, dashes int, boundary string) (result scanned, from, to int, end bool, err error) {
	last := r.pos + r.n - 1
	behind := dashes + 2 + len(boundary) + 2 - 1
	length := behind - dashes + 1
	partial := last < behind+2
	if partial {
		length = min(last, behind) - dashes + 1
	}
	matched, end := r.matches(boundary, dashes, length)
	if !matched {
		return scanNone, -1, -1, false, nil
	}
	from = lineEnd
	if lineEnd < 0 {
		from = dashes
	}
	if partial {
		return scanPartial, from, -1, false, nil
	}
	to = dashes + 2 + len(boundary) - 1
	if end {
		to += 2
	}
	found, _, lineTo, endOfBuffer := r.scanForLineEnd(to+1, 1<<31, true)
	switch {
	case found == scanMatch:
		return scanMatch, from, lineTo, end, nil
	case found == scanNone && !endOfBuffer:
		return scanNone, -1, -1, false, nil
	case from == 0:
		return scanNone, -1, -1, false, errBlanks
	}
	return scanPartial, from, -1, false, nil
}

func (r *libReader) matches(boundary string, start, length int) (matched, end bool) {
	trailing := 0
	for i := -2; i < length-2; i++ {
		c := r.buf[start+i+2]
		switch {
		case i < 0 && c != '-', i >= 0 && i < len(boundary) && c != boundary[i]:
			return false, false
		case i >= len(boundary) && c != '-':
			return true, false
		case i >= len(boundary):
			trailing++
		}
	}
	return true, trailing == 2
}

// libBoundary reads the boundary of a change set from its Content-Type.
func libBoundary(contentType string) (string, error) {
	const separators = "()<>@,;:\\\"/[]?={} \t"
	isToken := func(c byte) bool { return c > 0x1f && c < 0x7f && strings.IndexByte(separators, c) < 0 }
	rest := contentType[len("multipart/mixed"):]
	if rest != "" && isToken(rest[0]) {
		return "", fmt.Errorf("%w: %q", errLib, contentType)
	}
	boundary, count := "", 0
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] != ';' {
			return "", fmt.Errorf("%w: %q", errLib, contentType)
		}
		if rest = strings.TrimSpace(rest[1:]); rest == "" {
			break
		}
		n := 0
		for n < len(rest) && isToken(rest[n]) {
			n++
		}
		name := rest[:n]
		if n == 0 || n == len(rest) || rest[n] != '=' {
			return "", fmt.Errorf("%w: parameter %q", errLib, rest)
		}
		value, after, err := libValue(rest[n+1:], isToken)
		if err != nil {
			return "", err
		}
		if strings.EqualFold(name, "boundary") {
			boundary, count = value, count+1
		}
		rest = after
	}
	if count != 1 || boundary == "" || len(boundary) > 70 {
		return "", fmt.Errorf("%w: boundary %q", errLib, boundary)
	}
	return boundary, nil
}

func libValue(text string, isToken func(byte) bool) (value, rest string, err error) {
	if text == "" || text[0] != '"' {
		n := 0
		for n < len(text) && isToken(text[n]) {
			n++
		}
		return text[:n], text[n:], nil
	}
	var out bytes.Buffer
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return out.String(), text[i+1:], nil
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		out.WriteByte(text[i])
	}
	return "", "", fmt.Errorf("%w: open quotes", errLib)
}
