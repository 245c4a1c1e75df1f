package odata

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// BatchResponse returns src, the answer to a batch, with the links in its parts
// led to the proxy: in headers and in JSON bodies. It streams, part by part; a
// part is held only if it tells its length, which then must be made right. All
// else stays as it is.
func (r *Rewriter) BatchResponse(src io.Reader, boundary string) io.Reader {
	return &batchResponse{r: r, in: newLines(src), boundaries: []string{boundary}, at: betweenParts}
}

type batchPlace uint8

const (
	betweenParts batchPlace = iota // before the first delimiter, behind the last
	partHeaders
	statusLine
	innerHeaders
	innerBody
)

type batchResponse struct {
	r          *Rewriter
	in         *lines
	boundaries []string
	at         batchPlace

	wrapper fields // of the part
	head    fields // of the answer in it
	json    bool
	t       tokens
	held    *bytes.Buffer // the body, when its length must be told first

	out    bytes.Buffer
	buf    []byte
	failed error
}

var errHeldTooLarge = errors.New("a part of the batch's answer is too large to make its length right")

func (b *batchResponse) Read(p []byte) (int, error) {
	for b.out.Len() == 0 {
		if b.failed != nil {
			return 0, b.failed
		}
		line, first, err := b.in.next()
		if err != nil {
			b.endBody(nil)
			b.failed = err
			continue
		}
		if err := b.line(line, first); err != nil {
			b.failed = err
		}
	}
	return b.out.Read(p)
}

func (b *batchResponse) line(line []byte, first bool) error {
	if first && b.delimited(line) {
		return nil
	}
	switch b.at {
	case betweenParts:
		b.out.Write(line)
	case partHeaders:
		b.partHeader(line)
	case statusLine:
		b.out.Write(line)
		if !isBlank(line) {
			b.at, b.head = innerHeaders, fields{}
		}
	case innerHeaders:
		b.innerHeader(line)
	case innerBody:
		return b.body(line)
	}
	return nil
}

// delimited looks whether line ends a part, of the innermost multipart or of
// one around it.
func (b *batchResponse) delimited(line []byte) bool {
	for i := len(b.boundaries) - 1; i >= 0; i-- {
		is, last := delimiter(line, b.boundaries[i])
		if !is {
			continue
		}
		b.endBody(line)
		b.boundaries = b.boundaries[:i+1]
		b.at, b.wrapper = partHeaders, fields{}
		if last {
			b.boundaries = b.boundaries[:i]
			b.at = betweenParts
		}
		return true
	}
	return false
}

func (b *batchResponse) partHeader(line []byte) {
	b.out.Write(line)
	if !isBlank(line) {
		b.wrapper.lines = append(b.wrapper.lines, string(line))
		return
	}
	if inner := boundaryOf(b.wrapper.get("Content-Type")); inner != "" {
		b.boundaries = append(b.boundaries, inner)
		b.at = betweenParts
		return
	}
	b.at = statusLine
}

func (b *batchResponse) innerHeader(line []byte) {
	if !isBlank(line) {
		b.head.lines = append(b.head.lines, b.header(string(line)))
		return
	}
	b.head.end = string(line)
	b.at = innerBody
	b.json = isJSON(b.head.get("Content-Type"))
	b.t = b.r.toPublicTokens()
	if b.json && b.head.get("Content-Length") != "" {
		b.held = new(bytes.Buffer)
		return
	}
	b.out.Write(b.head.text())
}

// header rewrites one header line of an answer. The space behind the colon, or
// none, stays.
func (b *batchResponse) header(line string) string {
	name, value, ok := field([]byte(line))
	if !ok || name != "Location" && name != "Odata-Entityid" && name != "Content-Location" {
		return line
	}
	return strings.Replace(line, value, b.r.ToPublic(value), 1)
}

func (b *batchResponse) body(line []byte) error {
	if !b.json {
		b.out.Write(line)
		return nil
	}
	b.buf = b.t.push(b.buf[:0], line)
	if b.held == nil {
		b.out.Write(b.buf)
		return nil
	}
	if b.held.Len()+len(b.buf) > maxPart {
		return errHeldTooLarge
	}
	b.held.Write(b.buf)
	return nil
}

// endBody writes what is left of a part, and the delimiter behind it.
func (b *batchResponse) endBody(delimiter []byte) {
	if b.at == innerBody && b.json {
		b.buf = b.t.finish(b.buf[:0])
		if b.held == nil {
			b.out.Write(b.buf)
		} else {
			b.held.Write(b.buf)
			text := b.held.Bytes()
			length := len(bytes.TrimRight(text, "\r\n"))
			b.out.Write(b.head.keep(b.head.header(), map[string]string{"Content-Length": strconv.Itoa(length)}))
			b.out.Write(text)
		}
	} else if b.at == innerHeaders {
		b.out.Write(b.head.text())
	}
	b.held = nil
	b.out.Write(delimiter)
}
