package httpguard

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
)

// headScan looks for the end of a head that comes in pieces.
type headScan struct {
	skipped int // bytes of an empty line before the request line
	line    int // where the line under scan begins
	seen    bool
}

// scan returns where the head in b ends, 0 if it is not whole yet, and why it
// must be refused, "" if it need not. One empty line before a request line is
// skipped: old clients end a POST with a CRLF too many (RFC 9112, 2.2).
func (s *headScan) scan(b []byte, limits Limits) (end int, reason string) {
	for {
		n := bytes.IndexByte(b[s.line:], '\n')
		if n < 0 {
			return 0, s.partial(b, limits)
		}
		line := b[s.line : s.line+n]
		if n == 0 || line[n-1] != '\r' {
			return 0, "bare LF"
		}
		if reason := s.sound(line[:n-1], limits); reason != "" {
			return 0, reason
		}
		first := !s.seen
		s.line += n + 1
		if s.line > limits.Head {
			return 0, "request head too long"
		}
		switch {
		case n > 1:
			s.seen = true
		case !first:
			return s.line, ""
		case s.skipped > 0:
			return 0, "empty request line"
		default:
			s.skipped = s.line
		}
	}
}

// partial judges a line whose end has not come yet, so that one without an
// end is refused now and not at the timeout.
func (s *headScan) partial(b []byte, limits Limits) string {
	line := b[s.line:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if reason := s.sound(line, limits); reason != "" {
		return reason
	}
	if len(b) > limits.Head {
		return "request head too long"
	}
	return ""
}

func (s *headScan) sound(line []byte, limits Limits) string {
	switch {
	case bytes.IndexByte(line, '\r') >= 0:
		return "bare CR"
	case bytes.IndexByte(line, 0) >= 0:
		return "NUL byte"
	case !s.seen && len(line) > limits.RequestLine:
		return "request line too long"
	}
	return ""
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
// follows it, and why it must be refused, "" if it need not.
func judge(head []byte) (framing, string) {
	line, rest := cutLine(head)
	target, oldVersion, reason := requestLine(line)
	if reason != "" {
		return framing{}, reason
	}
	var h headers
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		if reason := h.add(line); reason != "" {
			return framing{}, reason
		}
	}
	if reason := h.judgeHost(target, oldVersion); reason != "" {
		return framing{}, reason
	}
	return h.frame(oldVersion)
}

func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	return b[:n-1], b[n+1:]
}

// requestLine reads METHOD SP target SP version.
func requestLine(line []byte) (target []byte, oldVersion bool, reason string) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(rest, []byte(" "))
	switch {
	case !found || !allTokens(method):
		return nil, false, "malformed request line"
	case string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0":
		return nil, false, "not HTTP/1.1 or HTTP/1.0"
	case string(method) == "CONNECT":
		return nil, false, "CONNECT"
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return nil, false, "odd byte in the request target"
		}
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	if !soundEscapes(path) {
		return nil, false, "malformed escape in the request target"
	}
	absolute := hasPrefixFold(target, "http://") || hasPrefixFold(target, "https://")
	asterisk := string(method) == "OPTIONS" && string(target) == "*"
	if len(target) == 0 || target[0] != '/' && !absolute && !asterisk {
		return nil, false, "request target is neither a path nor an address"
	}
	return target, string(version) == "HTTP/1.0", ""
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

func (h *headers) add(line []byte) string {
	name, value, reason := field(line)
	if reason != "" {
		return reason
	}
	switch plainName(name) {
	case "host":
		h.host = value
		h.hosts++
	case "content-length":
		h.length = value
		h.lengths++
	case "transfer-encoding":
		h.coding = value
		h.codings++
	default:
		return ""
	}
	if bytes.IndexByte(name, '_') >= 0 {
		return "header name with an underscore that some read as a dash"
	}
	return ""
}

// field reads one header line. The value is without the spaces around it, but
// with tabs: no honest client puts them there in what matters.
func field(line []byte) (name, value []byte, reason string) {
	name, value, found := bytes.Cut(line, []byte(":"))
	switch {
	case line[0] == ' ' || line[0] == '\t':
		return nil, nil, "folded header line"
	case !found || !allTokens(name):
		return nil, nil, "malformed header name"
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, "control byte in a header"
		}
	}
	return name, bytes.Trim(value, " "), ""
}

// plainName returns name in lower case with dashes for underscores if it may
// be one that matters here, "" otherwise. It allocates nothing.
func plainName(name []byte) string {
	for _, known := range [...]string{"host", "content-length", "transfer-encoding", "trailer"} {
		if len(known) == len(name) && sameName(name, known) {
			return known
		}
	}
	return ""
}

func sameName(name []byte, known string) bool {
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

func (h *headers) judgeHost(target []byte, oldVersion bool) string {
	switch {
	case h.hosts > 1:
		return "repeated Host"
	case h.hosts == 0 && !oldVersion:
		return "no Host"
	}
	for _, c := range h.host {
		if !isHostByte(c) {
			return "malformed Host"
		}
	}
	if target[0] == '/' || target[0] == '*' {
		return ""
	}
	u, err := url.ParseRequestURI(string(target))
	switch {
	case err != nil || u.Host == "":
		return "malformed request target"
	case u.User != nil:
		return "user name in the request target"
	case !strings.EqualFold(u.Host, string(h.host)):
		return "request target disagrees with Host"
	}
	return ""
}

func (h *headers) frame(oldVersion bool) (framing, string) {
	switch {
	case h.lengths > 0 && h.codings > 0:
		return framing{}, "both Content-Length and Transfer-Encoding"
	case h.lengths > 1:
		return framing{}, "repeated Content-Length"
	case h.codings > 1:
		return framing{}, "repeated Transfer-Encoding"
	case h.codings == 1 && oldVersion:
		return framing{}, "Transfer-Encoding in HTTP/1.0"
	case h.codings == 1 && string(h.coding) != "chunked":
		return framing{}, "Transfer-Encoding other than chunked"
	case h.lengths == 0:
		return framing{chunked: h.codings == 1}, ""
	}
	// ParseUint takes neither a sign nor an underscore in base 10. A leading
	// zero is octal to some.
	n, err := strconv.ParseUint(string(h.length), 10, 63)
	if err != nil || h.length[0] == '0' && len(h.length) > 1 {
		return framing{}, "malformed Content-Length"
	}
	return framing{length: int64(n)}, ""
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

func isHostByte(c byte) bool {
	return isAlnum(c) || c != 0 && strings.IndexByte("-._~[]:%", c) >= 0
}
