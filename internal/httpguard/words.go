package httpguard

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
)

func fault(status int, message string, args ...any) *Fault {
	return &Fault{status, fmt.Sprintf(message, args...)}
}

func bad(message string, args ...any) *Fault { return fault(http.StatusBadRequest, message, args...) }

var (
	faultMarker      = bad("The header %s is the proxy's own: leave it out.", marker)
	faultPlainHTTP   = bad("This port speaks HTTPS: write https:// in the address.")
	faultTLS         = bad("This port speaks plain HTTP: write http:// in the address.")
	faultPreface     = bad("HTTP/2 is spoken here over TLS only: use HTTP/1.1.")
	faultGarbage     = bad("This is not an HTTP request: it must begin with a method such as GET, a space, and a path.")
	faultBareLF      = bad("A line of the request's head ends with LF alone: end each line with CR LF.")
	faultBareCR      = bad("A line of the request's head holds a CR that no LF follows: end each line with CR LF, and leave CR out of values.")
	faultNUL         = bad("The request's head holds a NUL byte (0x00): leave it out.")
	faultEmptyLine   = bad("Empty lines stand before the request line: leave them out.")
	faultLineBreak   = bad("The request's head holds a line break inside a value: leave it out.")
	faultNoVersion   = bad("The request line must be a method, a space, the URL, a space and HTTP/1.1: the version is missing.")
	faultSpace       = bad("The URL holds a space that is not escaped: write %%20 in its place.")
	faultSpaces      = bad("The request line must hold one space before the URL and one behind it, and none at its end.")
	faultConnect     = bad("CONNECT asks for a forward proxy, which this is not: set no HTTP proxy, and write this address in place of the organization's.")
	faultEscape      = bad("A %% in the URL's path is not followed by two hex digits: write %%25 for a percent sign.")
	faultForm        = bad("The URL in the request line must begin with / or with http://.")
	faultTarget      = bad("The address in the request line cannot be read: it must be http://host/path.")
	faultUser        = bad("The address in the request line holds a user name: send credentials in a header.")
	faultHosts       = bad("The header Host is sent more than once: send it once.")
	faultNoHost      = bad("The header Host is missing: HTTP/1.1 needs it.")
	faultHost        = bad("The header Host holds a character that no host name has: it must be a name or an address, and a port if need be.")
	faultHostForm    = bad("The header Host cannot be read: it must be a name or an address (of IPv6 in brackets), and a port from 1 to 65535 if need be.")
	faultDisagree    = bad("The address in the request line names another host or port than the header Host: they must agree.")
	faultBoth        = bad("The headers Content-Length and Transfer-Encoding are both sent: send one of them.")
	faultLengths     = bad("The header Content-Length is sent more than once: send it once.")
	faultLength      = bad("The header Content-Length is not a decimal number: send the body's length in bytes, without signs, lists or leading zeros.")
	faultCodings     = bad("The header Transfer-Encoding is sent more than once: send it once.")
	faultOldCoding   = bad("The header Transfer-Encoding is sent in HTTP/1.0, which has none: send a Content-Length.")
	faultCoding      = bad("The header Transfer-Encoding must be chunked and nothing else.")
	faultExpect      = bad("The header Expect must be 100-continue and nothing else, or be left out.")
	faultFoldedFirst = bad("The first header line begins with a blank: leave it out.")
)

func setting(name string) string {
	if name == "" {
		return ""
	}
	return " An operator can raise " + name + "."
}

func faultLongLine(l *Limits) *Fault {
	return fault(http.StatusRequestURITooLong, "The URL is too long: the request line may have %d bytes. Send a long query inside a $batch, whose body has room.%s", l.RequestLine, setting(l.RequestLineSetting))
}

// faultLongHead names the header that takes most of head.
func faultLongHead(head []byte, l *Limits) *Fault {
	longest, size := "", 0
	_, lines, _ := bytes.Cut(head, []byte("\r\n"))
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && allTokens(name) && len(line) > size {
			longest, size = string(name), len(line)
		}
	}
	if longest != "" {
		longest = fmt.Sprintf(" The longest is %.64s: make it shorter, or leave it out.", longest)
	}
	return fault(http.StatusRequestHeaderFieldsTooLarge, "The request's headers are too large: together they may have %d bytes.%s%s", l.Head, longest, setting(l.HeadSetting))
}

func faultVersion(version []byte) *Fault {
	return bad("The request line must end with HTTP/1.1 or HTTP/1.0, not with %s.", quoted(version))
}

func faultMethod(method []byte) *Fault {
	return bad("The request line must begin with a method such as GET, not with %s.", quoted(method))
}

func faultTargetByte(c byte) *Fault {
	if c == '#' {
		return bad("The URL holds a # (fragment), which is not for servers: leave it out, or write %%23 for the character.")
	}
	return bad("The URL holds the character 0x%02x: write %%%02X in its place.", c, c)
}

func faultName(line []byte) *Fault {
	name, _, found := bytes.Cut(line, []byte(":"))
	if !found {
		return bad("A header line has no colon: each must be a name, a colon and a value.")
	}
	for _, c := range name {
		if !isToken(c) {
			return bad("A header's name holds the character 0x%02x, which names must not: none may stand before the colon either.", c)
		}
	}
	return bad("A header line has no name before its colon.")
}

func faultFolded(before []byte) *Fault {
	if len(before) == 0 {
		return faultFoldedFirst
	}
	return bad("The header %s goes on in the next line: write it in one.", quoted(before))
}

func faultControl(name []byte, c byte) *Fault {
	return bad("The header %s holds the control character 0x%02x: leave it out.", quoted(name), c)
}

func faultUnderscore(name []byte, known string) *Fault {
	return bad("The header %s is written with an underscore, which some servers read as a dash: write %s.", quoted(name), known)
}

// quoted is for what a caller sent: short, and harmless in a header.
func quoted(b []byte) string {
	return strconv.QuoteToASCII(string(b[:min(len(b), 64)]))
}
