package httpguard

import "bytes"

// Bounds of chunked framing. 15 hex digits cannot overflow an int64, and
// net/http takes no more than 4 KiB of trailers.
const (
	sizeDigits    = 15
	extensionSize = 256
	trailerSize   = 4 << 10
)

type chunkState byte

const (
	atSize chunkState = iota
	inSize
	atExtensionName
	inExtensionName
	atExtensionValue
	inExtensionValue
	sizeLF
	inData
	dataCR
	dataLF
	inTrailer
)

// chunkScan follows a chunked body, in pieces of any size. The zero value
// stands before the first chunk.
type chunkScan struct {
	state   chunkState
	digits  int
	spent   int // bytes of this extension
	left    int64
	trailer []byte // the trailer section so far
}

// scan follows b. It returns how many bytes of b belong to the body and are
// sound, whether the body ended there, and why it must be refused, "" if it
// need not. Chunk data is skipped over, not looked at.
func (s *chunkScan) scan(b []byte) (passed int, done bool, reason string) {
	for i := 0; i < len(b); {
		if s.state == inData {
			n := min(s.left, int64(len(b)-i))
			s.left -= n
			i += int(n)
			if s.left == 0 {
				s.state = dataCR
			}
			continue
		}
		if s.state == inTrailer {
			done, reason = s.trailers(b[i])
		} else {
			reason = s.step(b[i])
		}
		if reason != "" {
			return i, false, reason
		}
		i++
		if done {
			return i, true, ""
		}
	}
	return len(b), false, ""
}

// step takes one byte of framing outside data and trailers.
func (s *chunkScan) step(c byte) string {
	switch s.state {
	case atSize, inSize:
		return s.size(c)
	case atExtensionName, inExtensionName, atExtensionValue, inExtensionValue:
		return s.extension(c)
	case sizeLF:
		if c != '\n' {
			return "bare CR after a chunk size"
		}
		s.state = inData
		if s.left == 0 {
			s.state = inTrailer
		}
	case dataCR:
		if c != '\r' {
			return "chunk data longer than its size"
		}
		s.state = dataLF
	case dataLF:
		if c != '\n' {
			return "bare CR after chunk data"
		}
		s.state, s.digits, s.spent = atSize, 0, 0
	}
	return ""
}

func (s *chunkScan) size(c byte) string {
	if digit, ok := unhex(c); ok {
		if s.digits++; s.digits > sizeDigits {
			return "chunk size too long"
		}
		s.state, s.left = inSize, s.left<<4|int64(digit)
		return ""
	}
	switch {
	case s.state == atSize:
		return "chunk size is not a hex number"
	case c == ';':
		s.state = atExtensionName
	case c == '\r':
		s.state = sizeLF
	default:
		return "chunk size is not a hex number"
	}
	return ""
}

// extension takes names and values of plain tokens. Quoted strings are where
// parsers differ, and no known client sends them.
func (s *chunkScan) extension(c byte) string {
	if s.spent++; s.spent > extensionSize {
		return "chunk extension too long"
	}
	open := s.state == atExtensionName || s.state == atExtensionValue
	switch {
	case isToken(c):
		if open {
			s.state++
		}
	case open:
		return "odd byte in a chunk extension"
	case c == '\r':
		s.state = sizeLF
	case c == ';':
		s.state = atExtensionName
	case c == '=' && s.state == inExtensionName:
		s.state = atExtensionValue
	default:
		return "odd byte in a chunk extension"
	}
	return ""
}

// trailers takes one byte of the trailer section, which ends with an empty
// line.
func (s *chunkScan) trailers(c byte) (done bool, reason string) {
	if len(s.trailer) == trailerSize {
		return false, "trailers too long"
	}
	s.trailer = append(s.trailer, c)
	n := len(s.trailer)
	if n > 1 && s.trailer[n-2] == '\r' && c != '\n' {
		return false, "bare CR in a trailer"
	}
	if c != '\n' {
		return false, ""
	}
	if n < 2 || s.trailer[n-2] != '\r' {
		return false, "bare LF in a trailer"
	}
	line := s.trailer[bytes.LastIndexByte(s.trailer[:n-1], '\n')+1 : n-2]
	if len(line) == 0 {
		return true, ""
	}
	if line[0] == ' ' || line[0] == '\t' {
		return false, "a trailer goes on in the next line"
	}
	name, _, wrong := field(line)
	if wrong != nil {
		return false, "a trailer's line is malformed"
	}
	switch plainName(name) {
	case "content-length", "transfer-encoding", "host", "trailer":
		return false, "framing header in a trailer"
	}
	return false, ""
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
