package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// worthPacking is the size from which on gzip saves more than it costs: below,
// an answer fits into one packet anyway.
const worthPacking = 1400

// decode unpacks a gzip body if it must be read here or the caller does not
// take gzip. A coding that is not known passes as it is.
func decode(resp *http.Response, must bool) error {
	if !must || !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return nil
	}
	delete(resp.Header, "Content-Encoding")
	delete(resp.Header, "Content-Length")
	resp.ContentLength = -1
	resp.Body = &unpacked{packed: resp.Body}
	return nil
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

// encode packs a rewritten body again for a caller that takes gzip.
func encode(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength < worthPacking {
		return
	}
	resp.Header["Content-Encoding"] = []string{"gzip"}
	if !strings.Contains(strings.ToLower(strings.Join(resp.Header["Vary"], ",")), "accept-encoding") {
		resp.Header.Add("Vary", "Accept-Encoding")
	}
	delete(resp.Header, "Content-Length")
	resp.ContentLength = -1
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
