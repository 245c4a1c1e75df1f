package httpguard

import (
	"bytes"
	"strconv"
	"strings"
)

// headScan looks for the end of a head that comes in pieces.
type headScan struct {
	skipped int // bytes of an empty line before the request line
	line    int // where the line under scan begins
	lines   int // whole lines that are not empty
	looked  bool
}

// scan returns where the head in b ends, 0 if it is not whole yet, and why it
// must be refused, nil if it need not. One empty line before a request line is
// skipped: old clients end a POST with a CRLF too many (RFC 9112, 2.2).
func (s *headScan) scan(b []byte, limits *Limits) (end int, wrong *Fault) {
	if wrong := foreign(b); wrong != nil {
		return 0, wrong
	}
	for {
		n := bytes.IndexByte(b[s.line:], '\n')
		if n < 0 {
			return 0, s.partial(b, limits)
		}
		line := b[s.line : s.line+n]
		if n == 0 || line[n-1] != '\r' {
			return 0, faultBareLF
		}
		if wrong := s.sound(line[:n-1], limits); wrong != nil {
			return 0, wrong
		}
		s.line += n + 1
		if s.line > limits.Head {
			return 0, faultLongHead(b, limits)
		}
		switch {
		case n > 1:
			s.lines++
		case s.lines > 0:
			return s.line, nil
		case s.skipped > 0:
			return 0, faultEmptyLine
		default:
			s.skipped = s.line
		}
	}
}

// foreign says which other protocol b begins, nil if none: callers often
// confuse http with https.
func foreign(b []byte) *Fault {
	switch {
	case len(b) == 0 || isToken(b[0]) || b[0] <= ' ' && b[0] != 0x16:
		return nil
	case b[0] == 0x16 && (len(b) < 2 || b[1] == 3):
		return faultTLS // the record of a ClientHello
	}
	return faultGarbage
}

// partial judges a line whose end has not come yet, so that one without an
// end is refused now and not at the timeout.
func (s *headScan) partial(b []byte, limits *Limits) *Fault {
	line := b[s.line:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if wrong := s.sound(line, limits); wrong != nil {
		return wrong
	}
	if len(b) > limits.Head {
		return faultLongHead(b, limits)
	}
	// What speaks another protocol may never send a whole head.
	if s.lines > 0 && !s.looked {
		s.looked = true
		first, _ := cutLine(b[s.skipped:])
		_, _, wrong := requestLine(first)
		return wrong
	}
	return nil
}

func (s *headScan) sound(line []byte, limits *Limits) *Fault {
	switch {
	case bytes.IndexByte(line, '\r') >= 0:
		return faultBareCR
	case bytes.IndexByte(line, 0) >= 0:
		return faultNUL
	case s.lines == 0 && len(line) > limits.RequestLine:
		return faultLongLine(limits)
	}
	return nil
}

// framing says what follows a head: a chunked body, or length bytes.
type framing struct {
	length  int64
	chunked bool
}

// headers are those that decide where a request ends and whom it is for.
type headers struct {
	host, length, coding    []byte
	hosts, lengths, codings int
}

// judge reads a whole head, of lines that end with CRLF. It returns what
// follows it, and why it must be refused, nil if it need not.
func judge(head []byte) (framing, *Fault) {
	line, rest := cutLine(head)
	target, oldVersion, wrong := requestLine(line)
	if wrong != nil {
		return framing{}, wrong
	}
	var h headers
	var name []byte
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			return framing{}, faultFolded(name)
		}
		if name, wrong = h.add(line); wrong != nil {
			return framing{}, wrong
		}
	}
	if wrong := h.judgeHost(target, oldVersion); wrong != nil {
		return framing{}, wrong
	}
	return h.frame(oldVersion)
}

func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	return b[:n-1], b[n+1:]
}

// requestLine reads METHOD SP target SP version.
func requestLine(line []byte) (target []byte, oldVersion bool, wrong *Fault) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(rest, []byte(" "))
	switch {
	case !allTokens(method):
		return nil, false, faultMethod(method)
	case !found:
		return nil, false, faultNoVersion
	case string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0":
		return nil, false, wrongVersion(line, target, version)
	case string(method) == "CONNECT":
		return nil, false, faultConnect
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return nil, false, faultTargetByte(c)
		}
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	if !soundEscapes(path) {
		return nil, false, faultEscape
	}
	absolute := hasPrefixFold(target, "http://") || hasPrefixFold(target, "https://")
	asterisk := string(method) == "OPTIONS" && string(target) == "*"
	if len(target) == 0 || target[0] != '/' && !absolute && !asterisk {
		return nil, false, faultForm
	}
	return target, string(version) == "HTTP/1.0", nil
}

// wrongVersion says why a request line does not end as it should: most often a
// space in the URL has cut it short.
func wrongVersion(line, target, version []byte) *Fault {
	last := version[bytes.LastIndexByte(version, ' ')+1:]
	switch {
	case string(line) == "PRI * HTTP/2.0":
		return faultPreface
	case len(target) == 0 || len(last) == 0:
		return faultSpaces
	case len(last) < len(version) && bytes.HasPrefix(last, []byte("HTTP/")):
		return faultSpace
	}
	return faultVersion(last)
}

// soundEscapes reports whether each % begins two hex digits. net/http answers
// a path where one does not by itself, and not in the shape of the others.
func soundEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if path = path[i+1:]; len(path) < 2 || !isHex(path[0]) || !isHex(path[1]) {
			return false
		}
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// add takes one header line. It returns the header's name.
func (h *headers) add(line []byte) ([]byte, *Fault) {
	name, value, wrong := field(line)
	if wrong != nil {
		return nil, wrong
	}
	known := plainName(name)
	switch known {
	case "host":
		h.host = value
		h.hosts++
	case "content-length":
		h.length = value
		h.lengths++
	case "transfer-encoding":
		h.coding = value
		h.codings++
	case "content-type", "content-encoding": // by these a body is read, and judged
	case "expect":
		// net/http refuses others by itself, without a word.
		if len(value) > 0 && !strings.EqualFold(string(value), "100-continue") {
			return nil, faultExpect
		}
		return name, nil
	default:
		return name, nil
	}
	if bytes.IndexByte(name, '_') >= 0 {
		return nil, faultUnderscore(name, known)
	}
	return name, nil
}

// field reads one header line. The value is without the spaces around it, but
// with tabs: no honest client puts them there in what matters.
func field(line []byte) (name, value []byte, wrong *Fault) {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || !allTokens(name) {
		return nil, nil, faultName(line)
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, faultControl(name, c)
		}
	}
	return name, bytes.Trim(value, " "), nil
}

// plainName returns name in lower case with dashes for underscores if it may
// be one that matters here, "" otherwise. It allocates nothing.
func plainName(name []byte) string {
	for _, known := range [...]string{"host", "content-length", "transfer-encoding", "trailer", "expect", "content-type", "content-encoding"} {
		if sameName(name, known) {
			return known
		}
	}
	return ""
}

func sameName(name []byte, known string) bool {
	if len(name) != len(known) {
		return false
	}
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != known[i] {
			return false
		}
	}
	return true
}

func (h *headers) frame(oldVersion bool) (framing, *Fault) {
	switch {
	case h.lengths > 0 && h.codings > 0:
		return framing{}, faultBoth
	case h.lengths > 1:
		return framing{}, faultLengths
	case h.codings > 1:
		return framing{}, faultCodings
	case h.codings == 1 && oldVersion:
		return framing{}, faultOldCoding
	case h.codings == 1 && !sameName(h.coding, "chunked"):
		return framing{}, faultCoding
	case h.lengths == 0:
		return framing{chunked: h.codings == 1}, nil
	}
	// ParseUint takes neither a sign nor an underscore in base 10. A leading
	// zero is octal to some.
	n, err := strconv.ParseUint(string(h.length), 10, 63)
	if err != nil || h.length[0] == '0' && len(h.length) > 1 {
		return framing{}, faultLength
	}
	return framing{length: int64(n)}, nil
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

func allTokens(b []byte) bool {
	for _, c := range b {
		if !isToken(c) {
			return false
		}
	}
	return len(b) > 0
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isToken is RFC 9110's tchar.
func isToken(c byte) bool {
	return isAlnum(c) || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
