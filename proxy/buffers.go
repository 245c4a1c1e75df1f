package proxy

import (
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

// flushInterval is how long bytes of an answer without a length may wait for
// more of them.
const flushInterval = 50 * time.Millisecond

// retryWhenDraining is told to callers that come while the proxy ends.
const retryWhenDraining = 5 * time.Second

// silent keeps ReverseProxy from logging by itself: what it says holds URLs.
var silent = log.New(io.Discard, "", 0)
