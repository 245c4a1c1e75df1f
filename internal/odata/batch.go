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

// batchError tells what is wrong with a batch.
type batchError struct {
	part int // counted from 1 in the order of the parts, a change set's included; 0 for the batch as a whole
	err  error
}

func (e *batchError) Error() string {
	if e.part == 0 {
		return fmt.Sprintf("batch: %v", e.err)
	}
	return fmt.Sprintf("batch part %d: %v", e.part, e.err)
}

func (e *batchError) Unwrap() error { return e.err }

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
	marks   [][]byte // the delimiters of open; the batch's own to the very end
	seen    bool     // a delimiter was there
	// strict refuses what another reader may read in another way; otherwise that passes untouched.
	strict bool
	body   io.Reader
	chunk  []byte
}

func newBatch(src io.Reader, boundary string, strict bool) *batch {
	b := &batch{in: newLines(src), open: []string{boundary}, marks: [][]byte{[]byte("--" + boundary)}, top: boundary, strict: strict}
	b.next = b.between
	return b
}

// wrong is what a strict walk ends with.
func (b *batch) wrong(format string, args ...any) error {
	return &batchError{part: b.part, err: fmt.Errorf(format, args...)}
}

// between passes over what stands between parts: preamble, epilogue, parts that are not messages.
func (b *batch) between() error {
	piece, is, err := b.line()
	if err == io.EOF && b.strict && !b.seen {
		return b.wrong("it holds no delimiter --%s: the boundary in its Content-Type is another one, or the batch is empty", b.top)
	}
	if err != nil {
		// A batch without its closing delimiter ends where its bytes end, as OData servers read it.
		return err
	}
	if is.delimiter {
		b.enterPart(piece, is)
		return nil
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

// line peeks at the next line, or a piece of a long one, and tells whether it is a delimiter. A strict walk ends where the
// delimiter of a boundary in force stands in any other place than a line of its own: OData servers find it there too, and
// would carry out a part that nobody here has judged. The batch's own boundary stays in force behind its closing delimiter.
func (b *batch) line() (piece []byte, is crossing, err error) {
	piece, start, err := b.in.peek()
	if err != nil {
		return nil, crossing{}, err
	}
	if start {
		if is = b.delimiter(piece); is.delimiter {
			return piece, is, nil
		}
	}
	if !b.strict {
		return piece, crossing{}, nil
	}
	ahead := b.in.ahead(len(piece))
	for _, open := range b.marks {
		switch i := bytes.Index(ahead, open); {
		case i == 0 && start:
			return nil, crossing{}, b.wrong("a line begins like the delimiter %s and is none: choose a boundary that stands nowhere in the content", open)
		case i >= 0:
			return nil, crossing{}, b.wrong("the delimiter %s stands within a line (byte %d): put it at the beginning of a line, without a byte order mark or text before it, or choose a boundary that stands nowhere in the content", open, i)
		}
	}
	return piece, crossing{}, nil
}

// delimiter tells whether a line is a delimiter of a boundary in force.
func (b *batch) delimiter(line []byte) crossing {
	// A longer line may be a piece, of which nobody knows how it goes on.
	if len(line) >= 2*longestBoundary || !bytes.HasPrefix(line, []byte("--")) {
		return crossing{}
	}
	plain := bytes.TrimRight(lineText(line[2:]), " \t")
	for i := len(b.open) - 1; i >= 0; i-- {
		switch rest, ok := bytes.CutPrefix(plain, []byte(b.open[i])); {
		case ok && len(rest) == 0:
			return crossing{true, i, false}
		case ok && string(rest) == "--":
			return crossing{true, i, true}
		}
	}
	return crossing{}
}

// enterPart passes over a delimiter. A delimiter of the batch also ends a change set that is still open.
func (b *batch) enterPart(line []byte, is crossing) {
	b.out.Write(line)
	b.in.advance(len(line))
	b.seen = true
	b.next = b.readPartHeader
	depth := is.depth + 1
	if is.closing {
		depth, b.next = is.depth, b.between
	}
	b.open = b.open[:depth]
	b.marks = b.marks[:max(depth, 1)]
}

// openChangeSet puts the boundary of a change set in force.
func (b *batch) openChangeSet(boundary string) {
	b.open = append(b.open[:1:1], boundary)
	b.marks = append(b.marks[:1:1], []byte("--"+boundary))
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
	contentType := h.value("Content-Type")
	kind, params, err := mime.ParseMediaType(contentType)
	message := err == nil && kind == "application/http"
	if message || mediaType(contentType) == "multipart/mixed" {
		// What a part holds gets another length; its end tells it as well.
		h.keep(func(name string) bool { return name != "Content-Length" })
	}
	h.writeTo(&b.out)
	if h.end != endBlank {
		return nil
	}
	if message {
		if charset := params["charset"]; b.strict && charset != "" && !narrowBatch(charset) {
			return b.wrong("a part: its charset is %.40q; send the batch in UTF-8", charset)
		}
		b.part++
		b.next = b.message
		return nil
	}
	boundary, err := Boundary(contentType)
	switch {
	case err == nil && len(b.open) == 1 && b.mayOpen(boundary):
		b.openChangeSet(boundary)
	case !b.strict:
	case mediaType(contentType) != "multipart/mixed":
		return b.wrong("a part is neither application/http nor a change set: %.80s", contentType)
	case err != nil:
		return b.wrong("a change set: %w", err)
	case len(b.open) > 1:
		return b.wrong("a change set within a change set: send its requests in one")
	default:
		return b.wrong("a change set needs a boundary of its own, not %s", boundary)
	}
	return nil
}

// mayOpen reports whether lines can tell a change set's delimiters from those of the batch.
func (b *batch) mayOpen(boundary string) bool {
	return boundary != b.top && boundary != b.top+"--" && boundary+"--" != b.top
}

// checkPartHeader refuses the heads of parts whose content cannot be judged.
func (b *batch) checkPartHeader(h *partHeader) error {
	if h.end != endBlank {
		return b.wrong("the head of a part breaks off")
	}
	if err := h.check(); err != nil {
		return b.wrong("the head of a part: %w", err)
	}
	if h.count("Content-Type") > 1 {
		return b.wrong("a part must have one Content-Type")
	}
	if err := h.checkCoding(); err != nil {
		return b.wrong("a part: %w", err)
	}
	if coding := h.compressed(); coding != "" {
		return b.wrong("a part is compressed (Content-Encoding: %.40s) and cannot be judged: send it plain", coding)
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
	piece, is, err := p.b.line()
	if err == io.EOF || is.delimiter {
		return 0, p.end()
	}
	if err != nil {
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
