package spool

import (
	"math/bits"
	"sync"
)

// lent are the buffers in which small bodies are kept, each twice as large as those of the pool before; the first are of
// least bytes. A body holds one until it is closed, and no read of it goes on after that: all of them copy.
var lent [6]sync.Pool

const least = uncounted >> (len(lent) - 1)

func poolOf(n int64) int { return bits.Len64(uint64((n - 1) / least)) }

// borrow lends a buffer of at least n bytes: 1 to uncounted.
func borrow(n int64) *[]byte {
	i := poolOf(n)
	if buf, ok := lent[i].Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, least<<i)
	return &buf
}

func giveBack(buf *[]byte) {
	if buf != nil {
		lent[poolOf(int64(len(*buf)))].Put(buf)
	}
}
