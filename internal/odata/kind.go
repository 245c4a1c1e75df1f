package odata

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// Kind is what a body is, as far as links and policy are concerned.
type Kind int

const (
	// Opaque bodies pass untouched: files, images, texts, and what nobody can name.
	Opaque Kind = iota
	// JSON is text in UTF-8, or in another coding that writes ASCII as ASCII, with or without a byte order mark.
	JSON
	// WideJSON is JSON whose coding does not write ASCII as ASCII (UTF-16, say). Links in it cannot be read: a request
	// is to be refused, an answer can only pass.
	WideJSON
	// Batch is multipart/mixed.
	Batch
	// XML is SOAP, a service description and the like.
	XML
)

// BodyKind decides what a body is: a request's, an answer's, or that of a part of a batch. What is called JSON is JSON,
// however that is spelled (text/json, application/problem+json, odd case and blanks, parameters given twice). A body
// without a Content-Type is what first, its beginning, shows; first may be nil where there is a type, save that a coding
// which only a byte order mark tells is then not seen. White space and a UTF-8 byte order mark before the first byte that
// counts are passed over, so 512 bytes are plenty. A file is Opaque whatever it is called: what has one of fileHeaders.
// IsFile knows one by its address.
//
// Content-Encoding is not looked at: of a body that is compressed, BodyKind says what it will be when it is decoded, and
// first has to be of the decoded body.
func BodyKind(header http.Header, first []byte) Kind {
	for _, name := range fileHeaders {
		if len(header[name]) > 0 {
			return Opaque
		}
	}
	return kindOf(header["Content-Type"], first)
}

// fileHeaders are those that only a file has, or a piece of one, in canonical form.
var fileHeaders = [...]string{"Content-Disposition", "Content-Range", "X-Ms-File-Name", "X-Ms-Transfer-Mode"}

// IsFile reports whether what a raw path and query ask for is the bytes of a file: the value of a column, or a column for
// which the query has the name of the file that is sent. For an answer the path alone counts.
func IsFile(path, query string) bool {
	path = strings.TrimRight(path, "/")
	last := path[strings.LastIndexByte(path, '/')+1:]
	if strings.IndexByte(last, '%') >= 0 {
		last = string(percentDecode(last).text)
	}
	if strings.EqualFold(last, "$value") {
		return true
	}
	for param := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(param, "="); strings.EqualFold(name, "x-ms-file-name") {
			return true
		}
	}
	return false
}

// kindOf decides from the values of Content-Type. Of several the first that means something counts.
func kindOf(types []string, first []byte) Kind {
	named := false
	for _, contentType := range types {
		name := mediaType(contentType)
		named = named || name != ""
		switch {
		case name == "application/json" || name == "text/json" || strings.HasSuffix(name, "+json"):
			if wideCharset(contentType) || wide(first) {
				return WideJSON
			}
			return JSON
		case name == "multipart/mixed":
			return Batch
		case name == "application/xml" || name == "text/xml" || strings.HasSuffix(name, "+xml") && name != "application/xhtml+xml":
			return XML
		}
	}
	if named {
		return Opaque
	}
	return sniff(first)
}

// mediaType is the type and subtype of a Content-Type in lower case, empty for none. It reads what comes before the
// parameters and nothing of those, for a mistake in them does not change what the body is.
func mediaType(contentType string) string {
	name, _, _ := strings.Cut(contentType, ";")
	name, _, _ = strings.Cut(name, ",")
	return strings.ToLower(strings.Join(strings.Fields(name), ""))
}

// wideCharset reports whether a Content-Type names a coding in which JSON's own characters are not those of ASCII.
func wideCharset(contentType string) bool {
	for param := range strings.SplitSeq(contentType, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "charset") {
			continue
		}
		charset := strings.ToLower(strings.Trim(value, " \t\"'"))
		for _, narrow := range [...]string{"", "utf-8", "utf8", "us-ascii", "ascii"} {
			if charset == narrow {
				charset = "iso-8859-1"
			}
		}
		if !strings.HasPrefix(charset, "iso-8859-") && !strings.HasPrefix(charset, "windows-125") && charset != "latin1" {
			return true
		}
	}
	return false
}

// wide reports whether text begins like UTF-16 or UTF-32.
func wide(first []byte) bool {
	if bytes.HasPrefix(first, []byte("\xff\xfe")) || bytes.HasPrefix(first, []byte("\xfe\xff")) {
		return true
	}
	return len(first) > 1 && (first[0] == 0) != (first[1] == 0)
}

// sniff decides by a body's beginning alone.
func sniff(first []byte) Kind {
	text := bytes.TrimLeft(bytes.TrimPrefix(first, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		if wide(text) {
			return WideJSON
		}
		return JSON
	case wide(first):
		if i := bytes.IndexAny(first, "{[<"); i >= 0 && first[i] != '<' {
			return WideJSON
		}
	case bytes.HasPrefix(text, []byte("<?xml")) || bytes.HasPrefix(bytes.ToLower(text[:min(len(text), 64)]), []byte("<s")):
		return XML
	}
	return Opaque
}

// errBoundary is what all spellings that are refused have in common.
var errBoundary = errors.New(`write it as multipart/mixed; boundary="batch_1", with up to 70 letters, digits and the characters '()+_,-./:=? in the boundary`)

// Boundary gives the boundary of a batch, or of a change set, from the one value of its Content-Type. It refuses every
// spelling that OData servers may read in another way than this proxy: a parameter twice, in pieces or encoded (RFC 2231),
// escapes in quotes, blanks at an end, another charset than UTF-8. The error says what is wrong and how to write it.
func Boundary(contentType string) (string, error) {
	rest, ok := cutFold(textproto.TrimString(contentType), "multipart/mixed")
	if !ok || rest == "" {
		return "", fmt.Errorf("its Content-Type is %.80q, not multipart/mixed with a boundary; %w", contentType, errBoundary)
	}
	boundary, seen := "", make(map[string]bool)
	for rest = blanksLeft(rest); rest != ""; rest = blanksLeft(rest) {
		if rest[0] != ';' {
			return "", fmt.Errorf("its Content-Type holds %.40q where a ';' should be; %w", rest, errBoundary)
		}
		if rest = blanksLeft(rest[1:]); rest == "" {
			break // A ';' at the end is common and harmless.
		}
		name, value, after, ok := parameter(rest)
		switch {
		case !ok:
			return "", fmt.Errorf("its Content-Type holds %.60q, which servers read differently; %w", rest, errBoundary)
		case seen[name]:
			return "", fmt.Errorf("its Content-Type holds %s twice; %w", name, errBoundary)
		case name == "charset" && !narrowBatch(value):
			return "", fmt.Errorf("its charset is %.40q; send the batch in UTF-8", value)
		case name == "boundary":
			boundary = value
		}
		seen[name], rest = true, after
	}
	return boundary, checkBoundary(boundary)
}

func checkBoundary(boundary string) error {
	if boundary == "" || len(boundary) > longestBoundary {
		return fmt.Errorf("a boundary has 1 to %d bytes, this one %d; %w", longestBoundary, len(boundary), errBoundary)
	}
	for i := range len(boundary) {
		c := boundary[i]
		if c < ' ' || c > '~' || c == '\\' || c == '"' || c == ' ' && (i == 0 || i == len(boundary)-1) {
			return fmt.Errorf("the boundary %.80q is read differently by servers; %w", boundary, errBoundary)
		}
	}
	return nil
}

func narrowBatch(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8") || strings.EqualFold(charset, "us-ascii")
}

// parameter reads one parameter of a media type, its name in lower case.
func parameter(s string) (name, value, rest string, ok bool) {
	name, value, ok = strings.Cut(s, "=")
	if !ok || !token(name) || strings.Contains(name, "*") {
		return "", "", "", false
	}
	name = strings.ToLower(name)
	if !strings.HasPrefix(value, `"`) {
		n := strings.IndexFunc(value, func(c rune) bool { return c >= 0x80 || !token(string(c)) })
		if n < 0 {
			n = len(value)
		}
		return name, value[:n], value[n:], n > 0
	}
	n := strings.IndexAny(value[1:], "\"\\")
	if n < 0 || value[1+n] == '\\' {
		return "", "", "", false
	}
	return name, value[1 : 1+n], value[n+2:], true
}

func blanksLeft(s string) string { return strings.TrimLeft(s, " \t") }

// cutFold cuts a prefix off without regard to case.
func cutFold(s, prefix string) (rest string, ok bool) {
	if !foldAt(s, 0, prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
