// Package refusal knows how organizations refuse: where code, message and wait
// stand in their answers, and what the known ones mean and want done.
package refusal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
)

// Refusal is what an organization's error says.
type Refusal struct {
	Status     int    // of the answer; 0 where that is not known
	Code       string // in hexadecimal, such as 0x80072560; as it was said where it is no number; "" for none
	Message    string
	RetryAfter string // among a fault's details; "" for none. The header may say it too
}

// Read reads an error's body, whose type, media or "" if it is unknown, is an
// HTTP Content-Type's, no further than it must. What it cannot read it leaves
// out: of a body that is cut off, what is behind the cut.
func Read(contentType string, body io.Reader) Refusal {
	if IsXML(contentType) {
		return readFault(body)
	}
	if kind, _, _ := strings.Cut(contentType, "/"); strings.EqualFold(strings.TrimSpace(kind), "multipart") {
		// A batch that is refused has the error in a part.
		text, _ := io.ReadAll(body)
		body = bytes.NewReader(text[max(0, bytes.Index(text, []byte(`{"error"`))):])
	}
	return readJSON(body)
}

// readJSON reads {"error":{"code":"...","message":"..."}} until it has both.
func readJSON(body io.Reader) (found Refusal) {
	text := bufio.NewReader(body)
	if mark, _ := text.Peek(3); string(mark) == "\xef\xbb\xbf" {
		text.Discard(3)
	}
	d := json.NewDecoder(text)
	if !opens(d) {
		return found
	}
	var value json.RawMessage
	for !strings.EqualFold(name(d), "error") {
		if d.Decode(&value) != nil {
			return found
		}
	}
	if !opens(d) {
		return found
	}
	for coded, told := false, false; d.More() && !(coded && told); {
		member := name(d)
		if d.Decode(&value) != nil {
			break
		}
		var said string
		json.Unmarshal(value, &said) // what is no string says nothing
		switch strings.ToLower(member) {
		case "code":
			found.Code, coded = codeOf(said), true
		case "message":
			found.Message, told = said, true
		}
	}
	return found
}

// opens reports whether an object begins.
func opens(d *json.Decoder) bool {
	t, _ := d.Token()
	return t == json.Delim('{')
}

// name is that of the next member; without one there is no value behind it.
func name(d *json.Decoder) string {
	t, _ := d.Token()
	text, _ := t.(string)
	return text
}

// IsXML reports whether an error of this type would be a SOAP fault.
func IsXML(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "text/xml", "application/xml", "application/soap+xml":
		return true
	}
	return false
}

// readFault reads the first ErrorCode and Message of a fault, and Retry-After
// among its ErrorDetails. The fault's own string stands in for a message.
func readFault(body io.Reader) Refusal {
	d := xml.NewDecoder(body)
	var found Refusal
	var element, key, reason string
	var text strings.Builder
	for {
		token, err := d.Token()
		if err != nil {
			if found.Message == "" {
				found.Message = reason
			}
			return found
		}
		switch t := token.(type) {
		case xml.StartElement:
			element = t.Name.Local
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			value := strings.TrimSpace(text.String())
			text.Reset()
			switch {
			case element == "ErrorCode" && found.Code == "":
				found.Code = codeOf(value)
			case element == "Message" && found.Message == "":
				found.Message = value
			case (element == "faultstring" || element == "Text") && reason == "":
				reason = value
			case element == "key":
				key = value
			case element == "value" && key == "Retry-After" && found.RetryAfter == "":
				found.RetryAfter = value
			}
			element = ""
		}
	}
}

// codeOf gives an error code one spelling: that of the Web API. SOAP writes the
// same 32 bits as a signed number.
func codeOf(said string) string {
	said = strings.ToLower(strings.TrimSpace(said))
	if digits, hex := strings.CutPrefix(said, "0x"); hex {
		said = digits
	} else if n, err := strconv.ParseInt(said, 10, 64); err == nil && (n < 0 || len(said) > 8) {
		if n < -1<<31 || n >= 1<<32 {
			return said
		}
		return "0x" + strconv.FormatUint(uint64(uint32(n)), 16)
	}
	if _, err := strconv.ParseUint(said, 16, 32); err == nil && len(said) == 8 {
		return "0x" + said
	}
	return said
}
