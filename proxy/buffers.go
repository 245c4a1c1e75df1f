package proxy

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"sync"
	"time"
)

const copyBuffer = 32 << 10

var copyBuffers bufferPool

// bufferPool lends the buffers through which bodies are copied.
type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return p[:]
	}
	return new([copyBuffer]byte)[:]
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*[copyBuffer]byte)(buf)) }

// answerBuffers are buffers in which small pieces of an answer, which the
// organization sends as they come, wait to be sent together: each is a system
// call.
var answerBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, answerBuffer) }}

// answerBuffer is what a caller takes in the default ANSWER_IDLE_TIMEOUT at
// the default MIN_RATE.
const answerBuffer = 60 << 10

// shortTexts are lent to short answers.
var shortTexts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// shortText is an answer that is finished before its header is sent. Its
// buffer goes back once all of it is read; one that is closed before that
// keeps it, since a Read may still be under way.
type shortText struct {
	io.Closer
	text *bytes.Buffer // nil behind its end
	err  error         // what comes behind the text
}

func (s *shortText) Read(p []byte) (int, error) {
	if s.text == nil {
		return 0, s.err
	}
	if s.text.Len() > 0 {
		return s.text.Read(p)
	}
	if s.text.Cap() <= mostKept {
		s.text.Reset()
		shortTexts.Put(s.text)
	}
	s.text = nil
	return 0, s.err
}

// mostKept is the size above which the buffer of a short answer is not kept.
const mostKept = 2 * shortAnswer

// peekAt reads up to n bytes of src ahead, and returns them and a reader of the
// whole. An error comes where it came in src: io.ReadFull would make it an end
// like any other.
func peekAt(src io.Reader, n int) (first []byte, whole io.Reader) {
	first = make([]byte, n)
	var err error
	got := 0
	for got < n && err == nil {
		var m int
		m, err = src.Read(first[got:])
		got += m
	}
	if err != nil {
		src = failedReader{err}
	}
	return first[:got], io.MultiReader(bytes.NewReader(first[:got]), src)
}

// failedReader is the end of a body that broke off.
type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }

// flushInterval is how long bytes of an answer without a length may wait for
// more of them.
const flushInterval = 50 * time.Millisecond

// retryWhenDraining is told to callers that come while the proxy ends.
const retryWhenDraining = 5 * time.Second

// silent keeps ReverseProxy from logging by itself: what it says holds URLs.
var silent = log.New(io.Discard, "", 0)
