package odata

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// ResponseBody returns src, a JSON body of the organization, with the links in
// control information led to the proxy. It streams, and changes nothing else.
//
// It does not read the JSON token by token: it searches for the organization's
// host, and looks back from there. In valid JSON that is exact. A quote that is
// not escaped, before something that only a string can begin with, opens a
// string; what stands before a colon in front of it is the member's name.
func (r *Rewriter) ResponseBody(src io.Reader) io.Reader {
	s := &scanner{src: src, r: r, limit: r.longestBase()}
	s.needle = []byte(commonEnd(hostsOf(r)))
	s.hold = lookBack + len(s.needle)
	return s
}

func hostsOf(r *Rewriter) []string {
	hosts := []string{hostOf(r.Org)}
	for _, alias := range r.OrgAliases {
		hosts = append(hosts, hostOf(alias))
	}
	return hosts
}

// commonEnd returns what all hosts end with: of contoso.crm.dynamics.com and
// contoso.api.crm.dynamics.com, ".crm.dynamics.com". One search then finds
// both.
func commonEnd(hosts []string) string {
	end := strings.TrimSuffix(hosts[0], ":443")
	for _, host := range hosts[1:] {
		for !strings.HasSuffix(strings.TrimSuffix(host, ":443"), end) {
			end = end[1:]
		}
	}
	return end
}

const (
	scanBuffer = 64 << 10
	// lookBack bounds what stands in a link before the needle ends, in the
	// text: scheme and host, each character escaped at the worst.
	lookBack = 512
	// remembered is how much of what is written already is kept to look back to.
	remembered = keyTail + 8
)

var scanBuffers = sync.Pool{New: func() any { return new([scanBuffer]byte) }}

// escapedASCII begins every escape that may hide a link from the needle.
var escapedASCII = []byte(`\u00`)

// scanner is ResponseBody's reader. In buf stand, one after the other: what is
// written already and only kept to look back to; what may be written
// (from..safe); what has to wait for more (safe..end).
type scanner struct {
	src    io.Reader
	r      *Rewriter
	needle []byte
	limit  int
	hold   int

	buf     *[scanBuffer]byte
	from    int
	safe    int
	end     int
	search  int    // where the search goes on
	put     string // to be written before what stands at from
	head    head
	err     error // of src, once it came
	nextHit int   // memo of the next needle at or after search, -1 for unknown
	nextEsc int
}

func (s *scanner) Read(p []byte) (int, error) {
	if s.buf == nil {
		if s.err != nil {
			return 0, s.err
		}
		s.buf = scanBuffers.Get().(*[scanBuffer]byte)
		s.nextHit, s.nextEsc = unknown, unknown
	}
	for n := 0; ; {
		if s.put != "" {
			w := copy(p[n:], s.put)
			s.put = s.put[w:]
			n += w
		}
		if s.put == "" && s.from < s.safe {
			w := copy(p[n:], s.buf[s.from:s.safe])
			s.from += w
			n += w
		}
		if n == len(p) {
			return n, nil
		}
		if s.scan() {
			continue
		}
		if s.err != nil && s.from == s.end {
			scanBuffers.Put(s.buf)
			s.buf = nil
			if n > 0 {
				return n, nil
			}
			return 0, s.err
		}
		if n > 0 {
			return n, nil
		}
		s.fill()
	}
}

const unknown = -1

// fill makes room and reads more.
func (s *scanner) fill() {
	kept := s.remember()
	moved := s.from - kept
	copy(s.buf[kept:], s.buf[s.from:s.end])
	s.from, s.safe, s.end, s.search = kept, s.safe-moved, s.end-moved, max(kept, s.search-moved)
	s.nextHit, s.nextEsc = unknown, unknown
	n, err := s.src.Read(s.buf[s.end:])
	s.end += n
	if err != nil {
		s.err = err
	}
}

// remember moves to the front of buf what may have to be looked back to, and
// returns how long that is: the end of what is written, in which white space
// around a colon, however long, has shrunk to a single space.
func (s *scanner) remember() int {
	written := s.buf[:s.from]
	var gap []byte
	if rest := trimSpace(written); len(rest) < len(written) {
		written, gap = rest, append(gap, ' ')
	}
	if len(written) > 0 && written[len(written)-1] == ':' {
		written, gap = trimSpace(written[:len(written)-1]), []byte(":")
	}
	if len(written) > remembered {
		written = written[len(written)-remembered:]
	}
	n := copy(s.buf[:], written)
	return n + copy(s.buf[n:], gap)
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// scan finds what may be written next. It reports whether there is something;
// if not, more has to be read.
func (s *scanner) scan() bool {
	for {
		p := s.next()
		if p < 0 {
			return s.release(s.certain())
		}
		open := s.opening(p)
		if open < 0 || open < s.from-1 || !s.isControl(open) {
			s.search = p + 1
			continue
		}
		base, known := s.baseAt(open + 1)
		if !known {
			return s.release(open + 1)
		}
		if base == 0 {
			s.search = max(p+1, s.search)
			continue
		}
		if open+1 > s.from {
			// First what stands before the link; the link is found again then.
			s.search = p
			return s.release(open + 1)
		}
		s.put = s.head.escaped(s.r.Public)
		s.from += base
		s.safe, s.search = max(s.safe, s.from), max(s.from, p+1)
		return true
	}
}

// release lets buf be written up to to.
func (s *scanner) release(to int) bool {
	if to <= s.from {
		return false
	}
	s.safe = to
	return true
}

// certain returns up to where nothing can become a link any more: at the end
// of src everything, before it all but what a link may begin in.
func (s *scanner) certain() int {
	if s.err != nil {
		s.search = s.end
		return s.end
	}
	to := max(s.from, s.end-s.hold)
	s.search = max(s.search, to)
	return to
}

// next returns where the next needle or escape is, at or after search, or -1.
func (s *scanner) next() int {
	text := s.buf[:s.end]
	if s.nextHit != s.end && s.nextHit < s.search {
		s.nextHit = indexFrom(text, s.needle, s.search)
	}
	if s.nextEsc != s.end && s.nextEsc < s.search {
		s.nextEsc = indexFrom(text, escapedASCII, s.search)
	}
	if p := min(s.nextHit, s.nextEsc); p < s.end {
		return p
	}
	return -1
}

// indexFrom returns where sep is in text at or after from, len(text) for
// nowhere.
func indexFrom(text, sep []byte, from int) int {
	if i := bytes.Index(text[from:], sep); i >= 0 {
		return from + i
	}
	return len(text)
}

// opening returns the quote that opens the string in which p stands, if it is
// near enough to be a link's, else -1.
func (s *scanner) opening(p int) int {
	from := max(0, p-lookBack)
	for {
		i := bytes.LastIndexByte(s.buf[from:p], '"')
		if i < 0 {
			return -1
		}
		if i += from; !s.escaped(i) {
			return i
		}
		p = i
	}
}

// escaped reports whether the character at i stands behind an odd number of
// backslashes.
func (s *scanner) escaped(i int) bool {
	n := 0
	for i > 0 && s.buf[i-1] == '\\' {
		i--
		n++
	}
	return n%2 == 1
}

// isControl reports whether the string that opens at open is the value of a
// member that holds a link.
func (s *scanner) isControl(open int) bool {
	before := trimSpace(s.buf[:open])
	if len(before) == 0 || before[len(before)-1] != ':' {
		return false
	}
	before = trimSpace(before[:len(before)-1])
	if len(before) == 0 || before[len(before)-1] != '"' {
		return false
	}
	name := before[:len(before)-1]
	if open := s.opening(len(name)); open >= 0 {
		name = name[open+1:]
	}
	return isLink(controlName(name))
}

// baseAt returns how long the base is with which the string from i on begins,
// 0 for none; known is false if more has to be read to tell.
func (s *scanner) baseAt(i int) (base int, known bool) {
	raw := s.buf[i:s.end]
	s.head.decode(raw[:min(len(raw), 6*s.limit+6)], s.limit)
	h := &s.head
	if !h.ended && len(h.text) < s.limit && s.err == nil && len(raw) < 6*s.limit+6 {
		return 0, false
	}
	n := s.r.orgBase(string(h.text))
	if n == 0 {
		return 0, true
	}
	return h.at[n], true
}
