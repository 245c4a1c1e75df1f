package odata

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/textproto"
	"strings"
)

// lines reads a multipart text line by line. A line that is longer than the
// buffer comes in pieces, of which only the first can be a delimiter.
type lines struct {
	src   *bufio.Reader
	start bool // whether the next piece begins a line
}

const lineBuffer = 32 << 10

func newLines(src io.Reader) *lines {
	return &lines{src: bufio.NewReaderSize(src, lineBuffer), start: true}
}

// next returns a line with its end, or a piece of one; first says whether it
// begins the line. It is good until the next call.
func (l *lines) next() (text []byte, first bool, err error) {
	text, err = l.src.ReadSlice('\n')
	first = l.start
	l.start = err == nil
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	if err == io.EOF && len(text) > 0 {
		err = nil
	}
	return text, first, err
}

// delimiter says whether a line ends a part of the multipart with boundary, and
// whether it ends the multipart.
func delimiter(line []byte, boundary string) (is, last bool) {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte(boundary))
	}
	if !ok {
		return false, false
	}
	rest, last = bytes.CutPrefix(rest, []byte("--"))
	return len(bytes.Trim(rest, " \t\r\n")) == 0, last
}

// isBlank reports whether a line is nothing but its end.
func isBlank(line []byte) bool { return len(bytes.TrimRight(line, "\r\n")) == 0 }

// field splits a header line.
func field(line []byte) (name, value string, ok bool) {
	n, v, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
	if !ok || n == "" || strings.ContainsAny(n, " \t") {
		return "", "", false
	}
	return textproto.CanonicalMIMEHeaderKey(n), strings.Trim(v, " \t"), true
}

// lineEnd returns how a line ends: "\r\n", "\n" or "".
func lineEnd(line []byte) string {
	switch {
	case bytes.HasSuffix(line, []byte("\r\n")):
		return "\r\n"
	case bytes.HasSuffix(line, []byte("\n")):
		return "\n"
	}
	return ""
}

// boundaryOf returns the boundary of a multipart, "" if contentType is none.
func boundaryOf(contentType string) string {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return ""
	}
	return params["boundary"]
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}
