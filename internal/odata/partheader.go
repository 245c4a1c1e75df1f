package odata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
)

// partHeader is the head of a part or of a message, line by line as written.
type partHeader struct {
	first string   // the first line of a message, and blank lines before it
	lines []string // the header lines, each with its end
	blank string   // the blank line at the end
	end   headerEnd
}

// headerEnd tells how a head ended.
type headerEnd int

const (
	endBlank     headerEnd = iota // with a blank line
	endDelimiter                  // with a delimiter, which is still to be read
	endOfSource                   // with the source
	endTooLong                    // it is too long, and goes on
)

// header reads a header section. What was read of one that is too long is in the partHeader.
func (b *batch) header() (*partHeader, error) {
	h := &partHeader{}
	var line []byte // so far: a long one comes in pieces
	for size := 0; ; {
		piece, is, err := b.line()
		size += len(piece)
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case is.delimiter:
			h.end = endDelimiter
			return h, nil
		case err == io.EOF || size > longestHeader:
			h.end = endTooLong
			if err == io.EOF {
				h.end = endOfSource
			}
			if len(line) > 0 {
				h.lines = append(h.lines, string(line))
			}
			return h, nil
		}
		line = append(line, piece...)
		b.in.advance(len(piece))
		if line[len(line)-1] != '\n' {
			continue
		}
		if len(lineText(line)) == 0 {
			h.blank = string(line)
			return h, nil
		}
		h.lines = append(h.lines, string(line))
		line = line[:0]
	}
}

// messageHeader reads the head of a message: its first line, before which blank lines may stand, and its headers.
func (b *batch) messageHeader() (*partHeader, error) {
	var before strings.Builder
	for {
		h, err := b.header()
		if err != nil {
			return nil, err
		}
		if len(h.lines) == 0 && h.end == endBlank && before.Len() < longestHeader {
			before.WriteString(h.blank)
			continue
		}
		h.first = before.String()
		if len(h.lines) > 0 {
			h.first += h.lines[0]
			h.lines = h.lines[1:]
		}
		return h, nil
	}
}

func (h *partHeader) writeTo(out *bytes.Buffer) {
	out.WriteString(h.first)
	for _, line := range h.lines {
		out.WriteString(line)
	}
	out.WriteString(h.blank)
}

// check refuses header lines that not every reader reads alike.
func (h *partHeader) check() error {
	for _, line := range h.lines {
		name, value, ok := strings.Cut(line, ":")
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return errors.New("a header goes on over several lines")
		case !ok || !token(name):
			return fmt.Errorf("not a header: %.60q", strings.TrimRight(line, "\r\n"))
		case strings.ContainsAny(strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r"), "\r\x00"):
			return fmt.Errorf("header %s holds a control character", name)
		}
	}
	return nil
}

// checkCoding refuses content whose bytes are not those that count.
func (h *partHeader) checkCoding() error {
	for _, coding := range h.values("Content-Transfer-Encoding") {
		switch strings.ToLower(coding) {
		case "", "binary", "8bit", "7bit":
		default:
			return fmt.Errorf("Content-Transfer-Encoding %.40s is not read: send it as binary", coding)
		}
	}
	return nil
}

// compressed is the Content-Encoding, empty for none and for identity, which is none.
func (h *partHeader) compressed() string {
	coding := strings.Join(h.values("Content-Encoding"), ", ")
	if strings.EqualFold(coding, "identity") {
		return ""
	}
	return coding
}

// lineText is a line without its end.
func lineText(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// token reports whether s is a token of HTTP: a method, or a header's name.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// headerName is the canonical name of a header line, empty for other lines.
func headerName(line string) string {
	name, _, ok := strings.Cut(line, ":")
	if !ok {
		return ""
	}
	return textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
}

// headerValue gives where in a header line its value stands.
func headerValue(line string) (from, to int) {
	to = len(strings.TrimRight(line, " \t\r\n"))
	from = strings.IndexByte(line, ':') + 1
	for from < to && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	return min(from, to), to
}

// value is that of the first header of a canonical name.
func (h *partHeader) value(name string) string {
	for _, line := range h.lines {
		if headerName(line) == name {
			from, to := headerValue(line)
			return line[from:to]
		}
	}
	return ""
}

// values are those of all headers of a canonical name.
func (h *partHeader) values(name string) []string {
	var found []string
	for _, line := range h.lines {
		if headerName(line) == name {
			from, to := headerValue(line)
			found = append(found, line[from:to])
		}
	}
	return found
}

func (h *partHeader) count(name string) int {
	n := 0
	for _, line := range h.lines {
		if headerName(line) == name {
			n++
		}
	}
	return n
}

// keep leaves out the header lines whose canonical name is not wanted.
func (h *partHeader) keep(want func(name string) bool) {
	kept := h.lines[:0]
	for _, line := range h.lines {
		if want(headerName(line)) {
			kept = append(kept, line)
		}
	}
	h.lines = kept
}

// edit gives the values of the headers of a canonical name to f, and puts its answers in their place.
func (h *partHeader) edit(name string, f func(value string) string) {
	for i, line := range h.lines {
		if headerName(line) == name {
			from, to := headerValue(line)
			h.lines[i] = line[:from] + f(line[from:to]) + line[to:]
		}
	}
}
