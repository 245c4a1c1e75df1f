package proxy

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"mime"
	"net/http"
	"strings"
)

// isFault reports whether an answer may be a SOAP fault, which is how the
// Organization Service says what the Web API says with 429.
func isFault(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.StatusCode == http.StatusInternalServerError && (kind == "text/xml" || kind == "application/soap+xml")
}

// refusalIn reads error code, message and Retry-After of a refused request. It
// leaves the body to be read again.
func refusalIn(resp *http.Response) (code, message, wait string) {
	if decode(resp, true) != nil {
		return "", "", resp.Header.Get("Retry-After")
	}
	text := peek(resp)
	wait = resp.Header.Get("Retry-After")
	if !isFault(resp) {
		var said struct {
			Error struct{ Code, Message string }
		}
		json.Unmarshal(text, &said) // what is no JSON has no code
		return said.Error.Code, said.Error.Message, wait
	}
	code, message, told := soapFault(text)
	if told != "" {
		wait = told
	}
	return code, message, wait
}

// soapFault reads the first ErrorCode and Message of an
// OrganizationServiceFault, and Retry-After among its ErrorDetails.
func soapFault(text []byte) (code, message, wait string) {
	d := xml.NewDecoder(bytes.NewReader(text))
	var element, key string
	for {
		token, err := d.Token()
		if err != nil {
			return code, message, wait
		}
		switch t := token.(type) {
		case xml.StartElement:
			element = t.Name.Local
		case xml.EndElement:
			element = ""
		case xml.CharData:
			value := strings.TrimSpace(string(t))
			switch {
			case element == "ErrorCode" && code == "":
				code = value
			case element == "Message" && message == "":
				message = value
			case element == "key":
				key = value
			case element == "value" && key == "Retry-After" && wait == "":
				wait = value
			}
		}
	}
}

// peekSize bounds what of a refusal is looked at.
const peekSize = 16 << 10

// peek returns the beginning of resp's body, which still will be read whole.
func peek(resp *http.Response) []byte {
	text := make([]byte, peekSize)
	n, err := io.ReadFull(resp.Body, text)
	text = text[:n]
	rest := io.Reader(resp.Body)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		rest = failed{err}
	}
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(text), rest), resp.Body}
	return text
}

// failed is the end of a body that broke off.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

type readCloser struct {
	io.Reader
	io.Closer
}
