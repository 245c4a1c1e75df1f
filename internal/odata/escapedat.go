package odata

import (
	"bytes"
	"encoding/binary"
)

// escapedAt is an '@' that is written as an escape.
const escapedAt = `\u0040`

const (
	eachByte = 0x0101010101010101 // times a byte, a word of it
	highBits = 0x80 * eachByte
	// stretch is how far bytes are looked at in words behind a backslash: where one stands, as in text full of \", there
	// are many, and to stop at each of them costs more than to look for what none of them is.
	stretch = 1 << 10
)

// indexEscapedAt is bytes.Index for escapedAt.
func indexEscapedAt(w []byte) int {
	for n := 0; ; {
		i := bytes.IndexByte(w[n:], '\\')
		if i < 0 {
			return -1
		}
		n += i
		for end := min(n+stretch, len(w)-glance-len(escapedAt)); n < end; n += glance {
			if !mayHoldEscapedAt((*[glance + 4]byte)(w[n:])) {
				continue
			}
			if i := bytes.Index(w[n:n+glance+len(escapedAt)-1], []byte(escapedAt)); i >= 0 {
				return n + i
			}
		}
		if len(w)-n < 2*glance {
			if i := bytes.Index(w[n:], []byte(escapedAt)); i >= 0 {
				return n + i
			}
			return -1
		}
	}
}

// glance is how many bytes are looked at together.
const glance = 32

// mayHoldEscapedAt reports whether somewhere in the first glance bytes of w a backslash stands, and a 4 four bytes behind it.
func mayHoldEscapedAt(w *[glance + 4]byte) bool {
	return (bothAt(w[0:], w[4:])|bothAt(w[8:], w[12:])|bothAt(w[16:], w[20:])|bothAt(w[24:], w[28:]))&highBits != 0
}

// bothAt has a high bit where a backslash stands in the first eight bytes of a and a 4 in those of b; and others only if
// there is such a one.
func bothAt(a, b []byte) uint64 {
	odd := (binary.LittleEndian.Uint64(a) ^ '\\'*eachByte) | (binary.LittleEndian.Uint64(b) ^ '4'*eachByte)
	return (odd - eachByte) &^ odd
}
