package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
)

// decodeBody puts what a compressed body says in its place, which goes on
// without its coding: what must be judged or rewritten must be read. It takes
// what a body may hold that is kept, lest a few bytes become very many.
func (h *Handler) decodeBody(b *body, r *http.Request) error {
	coding, err := contentCoding(r.Header)
	if err != nil || coding == "" {
		return err
	}
	packed := &errorKeeper{Reader: b.src}
	plain := io.Reader(&inflated{packed: bufio.NewReader(packed)})
	if coding != "deflate" {
		plain = &unpacked{packed: io.NopCloser(packed)}
	}
	b.src = &decoded{plain: plain, packed: packed, coding: coding, bound: h.Spool.Largest()}
	b.length = -1
	r.Header.Del("Content-Encoding")
	return nil
}

// contentCoding returns the one coding of a request's body that is understood,
// or "" for none.
func contentCoding(header http.Header) (string, error) {
	coding := ""
	for name := range strings.SplitSeq(strings.Join(header["Content-Encoding"], ","), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case name == "" || name == "identity":
		case coding != "":
			return "", problem.New(problem.BadRequest, "The request's body has several codings (Content-Encoding), and must be read here. Send it as it is, or with gzip or deflate alone.")
		case name != "gzip" && name != "x-gzip" && name != "deflate":
			return "", problem.New(problem.BadRequest, "The request's body has the coding %.20q (Content-Encoding), which is not understood here. Send it as it is, or with gzip or deflate.", name)
		default:
			coding = name
		}
	}
	return coding, nil
}

// codingError says that a body is not in the coding that it is said to have.
type codingError struct {
	coding string
	err    error
}

func (e *codingError) Error() string { return fmt.Sprintf("malformed %s: %v", e.coding, e.err) }

func (e *codingError) Unwrap() error { return e.err }

// decoded is the plain form of a request's body, up to a bound.
type decoded struct {
	plain  io.Reader
	packed *errorKeeper
	coding string
	bound  int64
	n      int64
}

func (d *decoded) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	if d.n += int64(n); d.n > d.bound {
		return 0, &spool.TooLarge{Limit: d.bound}
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if broken := d.packed.err; broken != nil && broken != io.EOF {
		return n, broken // it is the caller that broke off, not its gzip
	}
	return n, &codingError{d.coding, err}
}

// errorKeeper remembers with what its Reader ended, and ends with that again.
type errorKeeper struct {
	io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (n int, err error) {
	if k.err == nil {
		n, k.err = k.Reader.Read(p)
	}
	return n, k.err
}

// inflated reads a deflate body: zlib, as the standard says, or bare, as many
// have taken it.
type inflated struct {
	packed *bufio.Reader
	plain  io.Reader
}

func (i *inflated) Read(p []byte) (int, error) {
	if i.plain == nil {
		if err := i.open(); err != nil {
			return 0, err
		}
	}
	n, err := i.plain.Read(p)
	if err == io.EOF {
		if _, err := i.packed.ReadByte(); err != io.EOF {
			return n, errors.Join(err, errors.New("there is more behind the end"))
		}
	}
	return n, err
}

func (i *inflated) open() (err error) {
	head, err := i.packed.Peek(2)
	switch {
	case err != nil:
		return io.ErrUnexpectedEOF
	case head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0:
		i.plain, err = zlib.NewReader(i.packed)
		return err
	}
	i.plain = flate.NewReader(i.packed)
	return nil
}

// decode unpacks a gzip body if it must be read here or the caller does not
// take gzip, and reports whether it did. A coding that is not known passes as
// it is. To HEAD it says what GET would be answered.
func decode(resp *http.Response, must bool) bool {
	if coding := resp.Header.Get("Content-Encoding"); !must || !strings.EqualFold(coding, "gzip") && !strings.EqualFold(coding, "x-gzip") {
		return false
	}
	delete(resp.Header, "Content-Encoding")
	unknownLength(resp)
	resp.Body = &unpacked{packed: resp.Body}
	return true
}

// coded reports whether an answer's body has a coding still.
func coded(header http.Header) bool {
	coding := header.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

// unknownLength says that only its end will tell how long an answer is.
func unknownLength(resp *http.Response) {
	delete(resp.Header, "Content-Length")
	resp.ContentLength = -1
}

var readers sync.Pool // of *gzip.Reader

// unpacked reads a gzip body. It opens the stream at the first Read, so that an
// answer's headers need not wait for its body.
type unpacked struct {
	packed io.ReadCloser
	plain  *gzip.Reader
	err    error
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.plain == nil && u.err == nil {
		u.open()
	}
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.plain.Read(p)
	if err != nil {
		u.err = err
		readers.Put(u.plain)
		u.plain = nil
	}
	return n, err
}

func (u *unpacked) open() {
	if plain, ok := readers.Get().(*gzip.Reader); ok {
		u.plain, u.err = plain, plain.Reset(u.packed)
	} else {
		u.plain, u.err = gzip.NewReader(u.packed)
	}
	if u.err != nil {
		u.plain = nil // io.EOF: no body at all
	}
}

func (u *unpacked) Close() error { return u.packed.Close() }

// encode packs a rewritten body again as the organization had packed it.
func encode(resp *http.Response) {
	resp.Header["Content-Encoding"] = []string{"gzip"}
	unknownLength(resp)
	resp.Body = &packed{plain: resp.Body}
}

var writers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
	return w
}}

// packed reads a body as gzip.
type packed struct {
	plain io.ReadCloser
	to    *gzip.Writer
	out   bytes.Buffer
	err   error
}

func (k *packed) Read(p []byte) (int, error) {
	for k.out.Len() == 0 && k.err == nil {
		k.more()
	}
	if k.out.Len() > 0 {
		return k.out.Read(p)
	}
	return 0, k.err
}

// more packs one piece. An error of the body ends the stream without the end
// that gzip needs, so that nobody takes it for whole.
func (k *packed) more() {
	if k.to == nil {
		k.to = writers.Get().(*gzip.Writer)
		k.to.Reset(&k.out)
	}
	buf := copyBuffers.Get()
	defer copyBuffers.Put(buf)
	n, err := k.plain.Read(buf)
	k.to.Write(buf[:n]) // into memory: cannot fail
	if k.err = err; err == nil {
		k.to.Flush() // what has come may be all for a while
		return
	}
	if err == io.EOF {
		k.to.Close()
	}
	writers.Put(k.to)
	k.to = nil
}

func (k *packed) Close() error { return k.plain.Close() }
