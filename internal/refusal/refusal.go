// Package refusal knows how organizations refuse: where code, message and wait
// stand in their answers, and what the known ones mean and want done.
package refusal

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
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

// Read reads the beginning of an error's body, whose type, media or "" if it
// is unknown, is an HTTP Content-Type's. What it cannot read it leaves out.
func Read(contentType string, body []byte) Refusal {
	if IsXML(contentType) {
		return readFault(body)
	}
	if kind, _, _ := strings.Cut(contentType, "/"); strings.EqualFold(strings.TrimSpace(kind), "multipart") {
		// A batch that is refused has the error in a part.
		body = body[max(0, bytes.Index(body, []byte(`{"error"`))):]
		body = firstValue(body)
	}
	var said struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &said) // what is no JSON has no code
	return Refusal{Code: codeOf(said.Error.Code), Message: said.Error.Message}
}

// firstValue is the JSON value with which text begins.
func firstValue(text []byte) json.RawMessage {
	var value json.RawMessage
	if json.NewDecoder(bytes.NewReader(text)).Decode(&value) != nil {
		return nil
	}
	return value
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
func readFault(body []byte) Refusal {
	d := xml.NewDecoder(bytes.NewReader(body))
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
