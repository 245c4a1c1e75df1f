package odata

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// This is ODataLib's reader of multipart batches, written out in Go from what its source does (Microsoft.OData.Core 8,
// ODataBatchReaderStreamBuffer, ODataMultipartMixedBatchReaderStream and ODataMultipartMixedBatchReader), with its buffer
// of 8,000 bytes and the edges of that. It shares nothing with the reader it is compared with.

// libPart is a request as ODataLib reads it.
type libPart struct {
	method, uri string
	header      map[string]string // names in lower case
	body        string
}

// libBatch reads the parts of a batch until its end or an error. Those before an error may have been carried out.
func libBatch(batch, boundary string) (parts []libPart, err error) {
	r := &libReader{src: strings.NewReader(batch), batch: boundary, buf: make([]byte, 8000)}
	for {
		part, err := r.next()
		if err != nil || part == nil {
			return parts, err
		}
		parts = append(parts, *part)
	}
}

type libReader struct {
	src            io.Reader
	batch, changes string
	buf            []byte
	pos, n         int
	exhausted      bool
	ended          bool
}

var errLib = errors.New("ODataException")

type scanned int

const (
	scanNone scanned = iota
	scanPartial
	scanMatch
)

// next gives the next request, nil at the end.
func (r *libReader) next() (*libPart, error) {
	for !r.ended {
		found, end, parent, err := r.skipToBoundary()
		if err != nil {
			return nil, err
		}
		switch {
		case !found && r.changes == "", end && r.changes == "":
			r.ended = true
		case !found, end, parent:
			r.changes = ""
		default:
			operation, err := r.partHeader()
			if err != nil {
				return nil, err
			}
			if operation {
				return r.operation()
			}
		}
	}
	return nil, nil
}

func (r *libReader) partHeader() (operation bool, err error) {
	header, err := r.headers()
	if err != nil {
		return false, err
	}
	contentType := header["content-type"]
	switch {
	case strings.EqualFold(contentType, "application/http"):
		if !strings.EqualFold(header["content-transfer-encoding"], "binary") {
			return false, fmt.Errorf("%w: Content-Transfer-Encoding", errLib)
		}
		return true, nil
	case len(contentType) >= 15 && strings.EqualFold(contentType[:15], "multipart/mixed"):
		if r.changes != "" {
			return false, fmt.Errorf("%w: nested change sets", errLib)
		}
		r.changes, err = libBoundary(contentType)
		return false, err
	}
	return false, fmt.Errorf("%w: content type %q", errLib, contentType)
}

func (r *libReader) operation() (*libPart, error) {
	line := ""
	for line == "" {
		text, ok := r.readLine()
		if !ok {
			return nil, fmt.Errorf("%w: unexpected end", errLib)
		}
		line = text
	}
	first, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if first <= 0 || len(line)-3 <= first || last-first-1 <= 0 || len(line)-1 <= last || line[last+1:] != "HTTP/1.1" {
		return nil, fmt.Errorf("%w: request line %q", errLib, line)
	}
	p := &libPart{method: line[:first], uri: line[first+1 : last]}
	switch p.method {
	case "GET", "DELETE", "PATCH", "POST", "PUT":
	default:
		return nil, fmt.Errorf("%w: method %q", errLib, p.method)
	}
	if r.changes != "" && p.method == "GET" {
		return nil, fmt.Errorf("%w: a query in a change set", errLib)
	}
	var err error
	if p.header, err = r.headers(); err != nil {
		return nil, err
	}
	if text, ok := p.header["content-length"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1<<31-1 {
			return nil, fmt.Errorf("%w: length %q", errLib, text)
		}
		p.body, err = r.readWithLength(n)
		return p, err
	}
	p.body, err = r.readWithDelimiter()
	return p, err
}

func (r *libReader) headers() (map[string]string, error) {
	header := make(map[string]string)
	for {
		line, ok := r.readLine()
		if !ok || line == "" {
			return header, nil
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			return nil, fmt.Errorf("%w: header %q", errLib, line)
		}
		name := strings.ToLower(strings.TrimSpace(line[:colon]))
		if _, twice := header[name]; twice {
			return nil, fmt.Errorf("%w: header %s twice", errLib, name)
		}
		header[name] = strings.TrimSpace(line[colon+1:])
	}
}

func (r *libReader) skipTo(at int) { r.n -= at - r.pos; r.pos = at }

func (r *libReader) refill(preserve int) {
	keep := max(0, r.pos+r.n-preserve)
	copy(r.buf, r.buf[min(preserve, len(r.buf)):min(preserve, len(r.buf))+keep])
	r.pos, r.n = 0, keep
	n, _ := r.src.Read(r.buf[r.n:])
	r.n += n
	r.exhausted = n == 0
}

func (r *libReader) skipToBoundary() (found, end, parent bool, err error) {
	for {
		result, from, to, end, parent, err := r.scanForBoundary(1 << 31)
		if err != nil {
			return false, false, false, err
		}
		switch {
		case result == scanMatch && parent:
			r.skipTo(from)
			return true, end, true, nil
		case result == scanMatch:
			r.skipTo(to + 1)
			return true, end, false, nil
		case r.exhausted:
			r.skipTo(r.pos + r.n)
			return false, false, false, nil
		case result == scanPartial:
			r.refill(from)
		default:
			r.refill(len(r.buf))
		}
	}
}

func (r *libReader) readWithLength(n int) (string, error) {
	var body []byte
	for n > 0 {
		m := min(n, r.n)
		body = append(body, r.buf[r.pos:r.pos+m]...)
		n -= m
		if n == 0 {
			r.skipTo(r.pos + m)
			break
		}
		if r.exhausted {
			return "", fmt.Errorf("%w: the length lies", errLib)
		}
		r.refill(len(r.buf))
	}
	return string(body), nil
}

// readWithDelimiter reads a body as a user does who asks for 1,024 bytes at a time.
func (r *libReader) readWithDelimiter() (string, error) {
	var body []byte
	for {
		remaining := 1024
		done := false
		for remaining > 0 && !done {
			result, from, _, _, _, err := r.scanForBoundary(remaining)
			if err != nil {
				return "", err
			}
			m := 0
			switch {
			case result == scanMatch:
				m, done = from-r.pos, true
				body = append(body, r.buf[r.pos:r.pos+m]...)
				r.skipTo(from)
			case result == scanNone && r.n >= remaining:
				m = remaining
				body = append(body, r.buf[r.pos:r.pos+m]...)
				r.skipTo(r.pos + m)
			case r.exhausted:
				m, done = min(r.n, remaining), true
				body = append(body, r.buf[r.pos:r.pos+m]...)
				r.skipTo(r.pos + m)
			case result == scanNone:
				m = r.n
				body = append(body, r.buf[r.pos:r.pos+m]...)
				r.refill(len(r.buf))
			default:
				m = from - r.pos
				body = append(body, r.buf[r.pos:r.pos+m]...)
				r.refill(from)
			}
			remaining -= m
		}
		if remaining > 0 {
			return string(body), nil
		}
	}
}

func (r *libReader) readLine() (line string, ok bool) {
	var text []byte
	for {
		result, from, to, _ := r.scanForLineEnd(r.pos, 8000, false)
		upTo := from
		if result == scanNone {
			upTo = r.pos + r.n
		}
		text = append(text, r.buf[r.pos:upTo]...)
		switch {
		case result == scanMatch:
			r.skipTo(to + 1)
			return string(text), true
		case result == scanNone && r.exhausted:
			r.skipTo(r.pos + r.n)
			return string(text), len(text) > 0
		case result == scanNone:
			r.refill(len(r.buf))
		case r.exhausted:
			r.skipTo(from + 1)
			return string(text), true
		default:
			r.refill(from)
		}
	}
}
