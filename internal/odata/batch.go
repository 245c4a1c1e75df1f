package odata

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"strings"
)

// longestHeader bounds the head of a part and of a message within it, in bytes. Dataverse takes addresses of up to 64 KiB.
const longestHeader = 128 << 10

// lengthHold bounds how much of a body is held to learn its new length before its head goes out, in bytes.
const lengthHold = 1 << 20

// BatchError tells what is wrong with a batch.
type BatchError struct {
	Part int // counted from 1 in the order of the parts, a change set's included; 0 for the batch as a whole
	Err  error
}

func (e *BatchError) Error() string {
	if e.Part == 0 {
		return fmt.Sprintf("batch: %v", e.Err)
	}
	return fmt.Sprintf("batch part %d: %v", e.Part, e.Err)
}

func (e *BatchError) Unwrap() error { return e.Err }

// batch walks through a multipart body of HTTP messages, writing what it has decided to out.
type batch struct {
	in   *lines
	out  bytes.Buffer
	open []string // the boundaries in force: the batch's, and within a change set the change set's
	part int      // messages so far
	top  string   // the batch's boundary

	// next takes one bounded step.
	next func() error
	// message reads the head of a message, writes it, and leaves its body to step b.next.
	message func() error
	// strict refuses what another reader may read in another way; otherwise that passes untouched.
	strict bool
	body   io.Reader
	chunk  []byte
}

func newBatch(src io.Reader, boundary string, strict bool) *batch {
	b := &batch{in: newLines(src), open: []string{boundary}, top: boundary, strict: strict}
	b.next = b.between
	return b
}

// wrong is what a strict walk ends with.
func (b *batch) wrong(format string, args ...any) error {
	return &BatchError{Part: b.part, Err: fmt.Errorf(format, args...)}
}

// between passes over what stands between parts: preamble, epilogue, parts that are not messages.
func (b *batch) between() error {
	piece, start, err := b.in.peek()
	if err == io.EOF && b.strict && len(b.open) > 0 {
		return b.wrong("it ends without its closing delimiter --%s--", b.top)
	}
	if err != nil {
		return err
	}
	if start {
		is, err := b.delimiter(piece)
		if is.delimiter || err != nil {
			b.enterPart(piece, is)
			return err
		}
	}
	if err := b.bareCRBoundary(len(piece)); err != nil {
		return err
	}
	b.out.Write(piece)
	b.in.advance(len(piece))
	return nil
}

// crossing tells what a line does to the boundaries in force.
type crossing struct {
	delimiter bool
	depth     int  // the boundary's place in batch.open
	closing   bool // no part follows
}

// delimiter tells whether a line is a delimiter of a boundary in force.
func (b *batch) delimiter(line []byte) (crossing, error) {
	if !bytes.HasPrefix(line, []byte("--")) {
		return crossing{}, nil
	}
	plain := strings.TrimRight(string(line[2:]), " \t\r\n")
	// A longer line may be a piece, of which nobody knows how it goes on.
	for i := len(b.open) - 1; i >= 0 && len(line) < 2*longestBoundary; i-- {
		switch plain {
		case b.open[i]:
			return crossing{true, i, false}, nil
		case b.open[i] + "--":
			return crossing{true, i, true}, nil
		}
	}
	if !b.strict {
		return crossing{}, nil
	}
	for _, boundary := range append([]string{b.top}, b.open...) {
		if strings.HasPrefix(plain, boundary) {
			return crossing{}, b.wrong("a line begins like the delimiter --%s and is none", boundary)
		}
	}
	return crossing{}, nil
}

// enterPart passes over a delimiter. A delimiter of the batch also ends a change set that is still open.
func (b *batch) enterPart(line []byte, is crossing) {
	if !is.delimiter {
		return
	}
	b.out.Write(line)
	b.in.advance(len(line))
	b.open, b.next = b.open[:is.depth+1], b.readPartHeader
	if is.closing {
		b.open, b.next = b.open[:is.depth], b.between
	}
}

// bareCRBoundary refuses a delimiter behind a lone carriage return within the n bytes peeked at: readers that take it for the end
// of a line would see a part there which we do not.
func (b *batch) bareCRBoundary(n int) error {
	if !b.strict {
		return nil
	}
	ahead := b.in.ahead(n)
	for {
		i := bytes.Index(ahead, []byte("\r--"))
		if i < 0 {
			return nil
		}
		ahead = ahead[i+len("\r--"):]
		if bytes.HasPrefix(ahead, []byte(b.top)) || len(b.open) > 1 && bytes.HasPrefix(ahead, []byte(b.open[1])) {
			return b.wrong("a delimiter follows a lone carriage return")
		}
	}
}

// readPartHeader reads the head of a part and decides what it is.
func (b *batch) readPartHeader() error {
	h, err := b.header()
	if err != nil {
		return err
	}
	b.next = b.between
	if b.strict {
		if err := b.checkPartHeader(h); err != nil {
			return err
		}
	}
	h.writeTo(&b.out)
	if h.end != endBlank {
		return nil
	}
	kind, params, err := mime.ParseMediaType(h.value("Content-Type"))
	boundary := params["boundary"]
	switch {
	case err != nil && b.strict:
		return b.wrong("its Content-Type: %v", err)
	case err == nil && kind == "application/http":
		b.part++
		b.next = b.message
	case err == nil && kind == "multipart/mixed" && len(b.open) == 1 && b.mayOpen(boundary):
		b.open = append(b.open[:1:1], boundary)
	case b.strict && kind == "multipart/mixed" && len(b.open) > 1:
		return b.wrong("a change set within a change set")
	case b.strict:
		return b.wrong("a part is neither application/http nor a change set with a boundary of its own: %s", h.value("Content-Type"))
	}
	return nil
}

// mayOpen reports whether lines can tell a change set's delimiters from those of the batch.
func (b *batch) mayOpen(boundary string) bool {
	return boundary != "" && len(boundary) <= longestBoundary && boundary == strings.TrimSpace(boundary) &&
		boundary != b.top && boundary != b.top+"--" && boundary+"--" != b.top
}

// checkPartHeader refuses the heads of parts whose content cannot be judged.
func (b *batch) checkPartHeader(h *partHeader) error {
	if h.end != endBlank {
		return b.wrong("the head of a part breaks off")
	}
	if err := h.check(); err != nil {
		return b.wrong("the head of a part: %w", err)
	}
	if len(h.lines) > 0 && h.count("Content-Type") != 1 {
		return b.wrong("a part must have one Content-Type")
	}
	switch coding := strings.ToLower(h.value("Content-Transfer-Encoding")); coding {
	case "", "binary", "8bit", "7bit":
	default:
		return b.wrong("Content-Transfer-Encoding %s is not read", coding)
	}
	// Only content headers mean anything here. A reader that took others for the message's own would get them past judge.
	h.keep(func(name string) bool {
		return strings.HasPrefix(name, "Content-") || name == "Mime-Version"
	})
	return nil
}

// copyBody passes on one chunk of the message's body, until the next delimiter.
func (b *batch) copyBody() error {
	if b.chunk == nil {
		b.chunk = make([]byte, window)
	}
	n, err := b.body.Read(b.chunk)
	b.out.Write(b.chunk[:n])
	if err == io.EOF {
		b.body, b.next = nil, b.between
		return nil
	}
	return err
}

// partBody is the body of a message: all lines before the next delimiter, the end of the last line included.
type partBody struct {
	b        *batch
	declared int64 // what its Content-Length says, or -1
	length   int64
	blank    int64 // ends of lines at its end so far
}

func (p *partBody) Read(buf []byte) (int, error) {
	n, err := p.line(buf)
	for err == nil && n < len(buf) && p.b.in.ready() {
		var m int
		m, err = p.line(buf[n:])
		n += m
	}
	if n > 0 {
		// The next call finds the same delimiter, or the same fault, again.
		return n, nil
	}
	return n, err
}

// line reads one line, or as much of it as there is room for.
func (p *partBody) line(buf []byte) (int, error) {
	piece, start, err := p.b.in.peek()
	if err == io.EOF {
		return 0, p.end()
	}
	if err != nil {
		return 0, err
	}
	if start {
		is, err := p.b.delimiter(piece)
		if err != nil {
			return 0, err
		}
		if is.delimiter {
			return 0, p.end()
		}
	}
	if err := p.b.bareCRBoundary(len(piece)); err != nil {
		return 0, err
	}
	n := copy(buf, piece)
	p.b.in.advance(n)
	p.count(piece[:n])
	return n, nil
}

func (p *partBody) count(piece []byte) {
	p.length += int64(len(piece))
	content := len(bytes.TrimRight(piece, "\r\n"))
	if content > 0 {
		p.blank = 0
	}
	p.blank += int64(len(piece) - content)
}

// end refuses a length that lies: a reader who trusts it would find other parts than we did. Ends of lines before the
// delimiter may or may not be counted, as writers do.
func (p *partBody) end() error {
	if p.b.strict && p.declared >= 0 && (p.declared > p.length || p.declared < p.length-p.blank) {
		return p.b.wrong("Content-Length is %d and the body has %d bytes", p.declared, p.length-p.blank)
	}
	return io.EOF
}
