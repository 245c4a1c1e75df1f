package odata

// longestName is the length of the longest control name.
const longestName = len("@odata.associationLink")

// controlName gives the length, with its closing quote, of the control name with which w begins, which may be the end of
// a longer name; 0 when there is none. It reports false when w ends before that is known.
func controlName(w []byte, end bool) (n int, known bool) {
	if len(w) > 1 && w[0] == '@' && w[1] != 'o' && w[1] != '\\' {
		return 0, true
	}
	if len(w) > longestName && string(w[:len("@odata.")]) == "@odata." {
		n := len("@odata.")
		for n <= longestName && w[n] != '"' && w[n] != '\\' {
			n++
		}
		switch {
		case n > longestName:
			return 0, true
		case w[n] == '\\':
			// It may be a control name all the same.
		case isControl(w[:n]):
			return n + 1, true
		default:
			return 0, true
		}
	}
	var name [longestName]byte
	length := 0
	for n < len(w) {
		if w[n] == '"' {
			if isControl(name[:length]) {
				return n + 1, true
			}
			return 0, true
		}
		c, size := unescape(w[n:])
		if size == 0 {
			return 0, end
		}
		if length == longestName {
			return 0, true
		}
		name[length] = c
		length++
		n += size
	}
	return 0, end
}

// isControl tells the names whose values are links. The names for requests (bind) and for answers are not told apart: a
// client may send back what it was given. The short names of OData 4.01 ("@id") are not among them, since Dataverse
// speaks 4.0, where such a member could only be data.
func isControl(name []byte) bool {
	switch string(name) {
	case "@odata.id", "@odata.bind", "@odata.context", "@odata.nextLink", "@odata.deltaLink",
		"@odata.editLink", "@odata.readLink", "@odata.mediaReadLink", "@odata.mediaEditLink",
		"@odata.navigationLink", "@odata.associationLink":
		return true
	}
	return false
}

// unescape gives the next byte of a JSON string, and how many bytes it is written in; 0 when w ends within it. What is
// not ASCII comes back as bytes above 0x7f, which no link's base and no control name holds.
func unescape(w []byte) (c byte, size int) {
	if w[0] != '\\' {
		return w[0], 1
	}
	if len(w) < 2 {
		return 0, 0
	}
	if w[1] != 'u' {
		return simpleEscape(w[1]), 2
	}
	if len(w) < 6 {
		return 0, 0
	}
	v := 0
	for _, h := range w[2:6] {
		d := hexDigit(h)
		if d < 0 {
			return 0xff, 2
		}
		v = v<<4 | d
	}
	if v > 0x7f {
		return 0xff, 6
	}
	return byte(v), 6
}

func simpleEscape(c byte) byte {
	switch c {
	case '/', '\\', '"':
		return c
	case 'b', 'f', 'n', 'r', 't':
		// No base and no control name holds any of these: which it is does not matter.
		return '\n'
	}
	return 0xff
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
