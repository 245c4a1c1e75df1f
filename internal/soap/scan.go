package soap

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// What an envelope may measure; Dataverse's own reader has narrower bounds.
const (
	maxDepth      = 128
	maxName       = 256
	maxAttributes = 64
	maxValue      = 4 << 10 // of one attribute, and of one word that is judged
)

type kind int

const (
	opened kind = iota // an element, which is the top of the stack now
	closed             // an element, which was it until now
	ended              // the envelope
)

// name is an expanded name.
type name struct{ space, local string }

type attribute struct {
	name
	raw   string
	value string
}

type element struct {
	name
	raw      string
	attrs    []attribute
	bindings int // of namespaces, in force before it
}

type binding struct{ prefix, space string }

// scanner reads XML 1.0 with namespaces, as .NET's XmlDictionaryReader does:
// no document type, no processing instructions, no entities but the five. It
// is written by hand because encoding/xml takes much that other readers take
// otherwise, and keeps a file of 100 MB in one piece.
type scanner struct {
	r    *bufio.Reader
	wide bool // the characters came as UTF-16

	stack  []element
	spaces []binding
	empty  bool // the top of the stack was opened and closed by one tag
	begun  bool
	over   bool // the root element has been closed

	keep bool // whether text is wanted
	text []byte
}

var (
	errSyntax    = unreadable("the envelope is no well-formed XML")
	errCharacter = unreadable("the envelope holds a character that XML does not allow, or is not in UTF-8")
	errEntity    = unreadable("the envelope holds an entity other than the five of XML")
	errDoctype   = unreadable("the envelope holds a document type or a processing instruction, which SOAP forbids")
	errDeep      = unreadable("the envelope's elements are nested too deeply")
	errLong      = unreadable("a name or a word in the envelope is too long")
	errPrefix    = unreadable("the envelope uses a namespace prefix that it does not declare")
	errTwice     = unreadable("an attribute in the envelope stands twice, or there are too many")
)

// next goes on to the next element that begins or ends.
func (s *scanner) next() (kind, error) {
	if !s.begun {
		s.begun = true
		if err := s.declaration(); err != nil {
			return 0, err
		}
	}
	if s.empty {
		s.empty = false
		return closed, nil
	}
	for {
		if err := s.characters(); err == io.EOF && s.over {
			return ended, nil
		} else if err != nil {
			return 0, err
		}
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c == '!':
			err = s.bang()
		case c == '?':
			err = errDoctype
		case c == '/':
			return closed, s.endTag()
		default:
			s.r.UnreadByte()
			return opened, s.startTag()
		}
		if err != nil {
			return 0, err
		}
	}
}

// pop leaves the element that was closed.
func (s *scanner) pop() {
	top := s.stack[len(s.stack)-1]
	s.spaces = s.spaces[:top.bindings]
	s.stack = s.stack[:len(s.stack)-1]
	s.over = len(s.stack) == 0
}

// declaration reads <?xml ...?>, which may stand at the very beginning only.
func (s *scanner) declaration() error {
	if b, err := s.r.Peek(6); err != nil {
		return err
	} else if string(b[:5]) != "<?xml" || !isSpace(b[5]) {
		return nil
	}
	s.r.Discard(5)
	attrs, end, err := s.attributes()
	if err != nil {
		return err
	}
	if c, err := s.r.ReadByte(); err != nil {
		return err
	} else if end != '?' || c != '>' {
		return errSyntax
	}
	for i, a := range attrs {
		switch {
		case i == 0 && a.raw == "version" && a.value == "1.0":
		case i == 1 && a.raw == "encoding":
			wide := len(a.value) >= 6 && strings.EqualFold(a.value[:6], "utf-16")
			if !wide && !strings.EqualFold(a.value, "utf-8") || wide != s.wide {
				return unreadable("the encoding that the XML declaration names is neither utf-8 nor utf-16, or not the message's")
			}
		case i > 0 && i == len(attrs)-1 && a.raw == "standalone" && (a.value == "yes" || a.value == "no"):
		default:
			return errSyntax
		}
	}
	if len(attrs) == 0 {
		return errSyntax
	}
	return nil
}

// characters passes text up to a '<', which it takes too.
func (s *scanner) characters() error {
	brackets := 0
	for {
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return err
		case c == '<':
			return nil
		case c == '>' && brackets >= 2:
			return errSyntax // "]]>" may not stand in text
		case c == '&':
			var r rune
			if r, err = s.reference(); err == nil {
				err = s.add(r)
			}
		default:
			err = s.plain(c)
		}
		if err != nil {
			return err
		}
		if brackets++; c != ']' {
			brackets = 0
		}
	}
}

// character takes the character at hand, which is no plain one.
func (s *scanner) character() error {
	r, err := s.rune()
	if err != nil {
		return err
	}
	return s.add(r)
}

func (s *scanner) rune() (rune, error) {
	s.r.UnreadByte()
	r, size, err := s.r.ReadRune()
	if err == nil && (r == utf8.RuneError && size == 1 || !isCharacter(r)) {
		err = errCharacter
	}
	return r, err
}

func (s *scanner) addByte(c byte) error {
	switch {
	case len(s.stack) == 0 && !isSpace(c):
		return unreadable("there is something before or behind the envelope")
	case !s.keep:
		return nil
	case len(s.text) >= maxValue:
		return errLong
	}
	s.text = append(s.text, c)
	return nil
}

func (s *scanner) add(r rune) error {
	switch {
	case len(s.stack) == 0:
		return unreadable("there is something before or behind the envelope")
	case !s.keep:
		return nil
	case len(s.text) >= maxValue:
		return errLong
	}
	s.text = utf8.AppendRune(s.text, r)
	return nil
}

// bang reads what begins with "<!": a comment or a CDATA section.
func (s *scanner) bang() error {
	b, err := s.r.Peek(2)
	if err != nil {
		return err
	}
	if string(b) == "--" {
		s.r.Discard(2)
		return s.comment()
	}
	const opening = "[CDATA["
	if b, err = s.r.Peek(len(opening)); err != nil {
		return err
	}
	if string(b) != opening || len(s.stack) == 0 {
		return errDoctype
	}
	s.r.Discard(len(opening))
	return s.cdata()
}

// comment ends with "-->", and "--" stands nowhere else in it.
func (s *scanner) comment() error {
	dashes := 0
	for {
		c, err := s.r.ReadByte()
		if err == nil && (c >= utf8.RuneSelf || c < ' ' && !isSpace(c)) {
			_, err = s.rune()
		}
		switch {
		case err != nil:
			return err
		case dashes == 2 && c == '>':
			return nil
		case dashes == 2:
			return errSyntax
		case c == '-':
			dashes++
		default:
			dashes = 0
		}
	}
}

func (s *scanner) cdata() error {
	for {
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return err
		case c == ']':
			if b, _ := s.r.Peek(2); bytes.Equal(b, []byte("]>")) {
				s.r.Discard(2)
				return nil
			}
			err = s.addByte(c)
		default:
			err = s.plain(c)
		}
		if err != nil {
			return err
		}
	}
}

// plain adds the character that begins with c, which was read.
func (s *scanner) plain(c byte) error {
	if c < utf8.RuneSelf && (c >= ' ' || isSpace(c)) {
		return s.addByte(c)
	}
	return s.character()
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isCharacter reports whether XML 1.0 allows r.
func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || ' ' <= r && r <= 0xd7ff || 0xe000 <= r && r <= 0xfffd || 0x10000 <= r && r <= utf8.MaxRune
}
