// Package soap judges what an Organization Service message would do, and
// writes the faults that its clients read.
//
// What a message does stands inside it, and whoever judges it must not read it
// in another way than the organization. So the reading here is narrow: XML as
// .NET's reader takes it, one envelope and nothing behind it, one operation,
// no word said twice, no word that is said elsewhere. Everything else cannot be
// judged, and is refused with the reason. Names count without their namespace,
// so that no prefix hides one. Where a message says what it is in two places,
// Body and SOAPAction or name and type, it reads only if both do.
package soap

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Envelope is what a message would do.
type Envelope struct {
	Operation string // the Body's element: Create, RetrieveMultiple, Execute, ...
	Message   string // of Execute: the request's name, such as WhoAmI
	Requests  int    // of ExecuteMultiple and ExecuteTransaction: how many requests they hold

	Write        string // the first operation or message that may change something, "" if all only read
	Updates      string // of those the first that the Web API has as PATCH, or ""
	Deletes      string // likewise as DELETE
	Impersonates string // the header that asks to act as somebody else, or ""
	Bypasses     string // the first parameter that goes round plug-ins, or ""
}

// Unreadable says why a message cannot be judged, in words for its sender.
type Unreadable struct{ Reason string }

func (u *Unreadable) Error() string { return u.Reason }

func unreadable(reason string) error { return &Unreadable{reason} }

// Judge reads an envelope to its end, in bounded memory. header is the HTTP
// request's. Its error is an *Unreadable for what cannot be judged, else what
// body returned.
func Judge(header http.Header, body io.Reader) (Envelope, error) {
	media, err := readMedia(header["Content-Type"])
	if err != nil {
		return Envelope{}, err
	}
	text, wide, err := decoded(body)
	if err != nil {
		return Envelope{}, truncated(err)
	}
	if media.wide != nil && *media.wide != wide {
		return Envelope{}, unreadable("the message is not in the encoding that its Content-Type names")
	}
	j := judge{scanner: scanner{r: text, wide: wide}}
	if err := j.run(); err != nil {
		return Envelope{}, truncated(err)
	}
	// What stands in between may have joined several lines by commas.
	for action := range strings.SplitSeq(strings.Join(append(append(j.actions, media.action), header["Soapaction"]...), ","), ",") {
		name := lastSegment(action)
		if name != j.found.Operation && isWrite(name) {
			j.writes(name)
		}
	}
	return j.found, nil
}

// truncated tells an envelope that ends too early from a body that broke off.
func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return unreadable("the envelope ends before its end tag")
	}
	return err
}

// lastSegment is the operation in an action: Execute of
// "http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Execute".
func lastSegment(action string) string {
	action = strings.Trim(action, " \t\r\n\"'")
	return action[strings.LastIndexAny(action, "/#:")+1:]
}

// media is what a Content-Type says of a message.
type media struct {
	wide   *bool  // whether the characters are UTF-16; nil if it does not say
	action string // of SOAP 1.2
}

// readMedia takes what may hold an envelope as text. Parameters that stand
// twice, as WinHTTP writes charset, must agree.
func readMedia(lines []string) (media, error) {
	var m media
	if len(lines) > 1 {
		return m, unreadable("there is more than one Content-Type")
	}
	if len(lines) == 0 {
		return m, nil
	}
	kind, params, _ := strings.Cut(lines[0], ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "text/xml", "application/xml", "application/soap+xml":
	default:
		return m, unreadable("a message of this Content-Type cannot be read here; send it as text/xml")
	}
	for _, p := range parameters(params) {
		switch p.name {
		case "charset":
			wide := false
			switch strings.ToLower(p.value) {
			case "utf-8", "utf8":
			case "utf-16", "utf-16le", "utf-16be", "unicode":
				wide = true
			default:
				return m, unreadable("the charset in Content-Type is neither utf-8 nor utf-16")
			}
			if m.wide != nil && *m.wide != wide {
				return m, unreadable("Content-Type names two charsets")
			}
			m.wide = &wide
		case "action":
			if m.action != "" && m.action != p.value {
				return m, unreadable("Content-Type names two actions")
			}
			m.action = p.value
		}
	}
	return m, nil
}

type parameter struct{ name, value string }

// parameters splits the parameters of a Content-Type; quotes keep a semicolon.
func parameters(s string) []parameter {
	var found []parameter
	for s != "" {
		quoted := false
		end := strings.IndexFunc(s, func(c rune) bool {
			if c == '"' {
				quoted = !quoted
			}
			return c == ';' && !quoted
		})
		one := s
		if end < 0 {
			s = ""
		} else {
			one, s = s[:end], s[end+1:]
		}
		name, value, _ := strings.Cut(one, "=")
		found = append(found, parameter{strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)})
	}
	return found
}

// Serves reports whether a raw path is a SOAP endpoint's, on whatever tenant:
// the Organization Service, /web below it, and its elder and lesser kin. The
// OData service that stands beside them is none. The first service in a path is
// the one that is asked.
func Serves(path string) bool {
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	path = strings.ToLower(path)
	if !strings.Contains(path, "/xrmservices/") && !strings.Contains(path, "/mscrmservices/") {
		return false
	}
	service, _, found := strings.Cut(path, ".svc")
	return found && !strings.HasSuffix(service, "/organizationdata") || strings.Contains(service, ".asmx")
}

// Is12 reports whether a request speaks SOAP 1.2, and reads its faults only.
func Is12(header http.Header) bool {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/soap+xml")
}

const bufferSize = 16 << 10

// decoded returns an envelope's characters as UTF-8, without a byte order mark,
// and whether they came as UTF-16. Of the three codings of "<" no two can be
// confused, so the first bytes are enough.
func decoded(body io.Reader) (text *bufio.Reader, wide bool, err error) {
	r := bufio.NewReaderSize(body, bufferSize)
	b, err := r.Peek(3)
	if len(b) < 3 {
		return nil, false, err
	}
	switch {
	case b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf:
		r.Discard(3)
		return r, false, nil
	case b[0] == 0xff && b[1] == 0xfe, b[0] == 0xfe && b[1] == 0xff:
		r.Discard(2)
		return bufio.NewReaderSize(&utf16{r: r, little: b[0] == 0xff}, bufferSize), true, nil
	case b[0] == 0, b[1] == 0:
		return bufio.NewReaderSize(&utf16{r: r, little: b[1] == 0}, bufferSize), true, nil
	}
	return r, false, nil
}
