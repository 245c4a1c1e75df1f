package soap

import (
	"bufio"
	"io"
	codes "unicode/utf16"
	"unicode/utf8"
)

// utf16 gives UTF-16 as UTF-8. Half a character is an error: golang.org/x/text
// would put a replacement there, and another reader may not.
type utf16 struct {
	r      *bufio.Reader
	little bool
	rest   []byte // of the last character, not given yet
	buf    [utf8.UTFMax]byte
}

func (u *utf16) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(u.rest) == 0 {
			if n > 0 && u.r.Buffered() < 4 {
				break // what is here is given before more is waited for
			}
			c, err := u.next()
			if err != nil {
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
			u.rest = utf8.AppendRune(u.buf[:0], c)
		}
		k := copy(p[n:], u.rest)
		n, u.rest = n+k, u.rest[k:]
	}
	return n, nil
}

func (u *utf16) next() (rune, error) {
	first, err := u.unit()
	if err != nil || !codes.IsSurrogate(first) {
		return first, err
	}
	second, err := u.unit()
	if err == io.EOF {
		err = errHalf
	}
	if err != nil {
		return 0, err
	}
	c := codes.DecodeRune(first, second)
	if c == utf8.RuneError {
		return 0, errHalf
	}
	return c, nil
}

var errHalf = unreadable("the message holds half of a UTF-16 character")

func (u *utf16) unit() (rune, error) {
	a, err := u.r.ReadByte()
	if err != nil {
		return 0, err
	}
	b, err := u.r.ReadByte()
	if err == io.EOF {
		err = errHalf
	}
	if u.little {
		a, b = b, a
	}
	return rune(a)<<8 | rune(b), err
}
