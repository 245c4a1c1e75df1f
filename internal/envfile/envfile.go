// Package envfile reads settings: files of NAME=value lines, directories of
// such files that are watched, and structs that are filled from them with
// every fault at once.
package envfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 64 << 10

// Parse reads lines of NAME=value. Blank lines and lines that begin with '#'
// are skipped, "export " before a name is allowed, white space around name and
// value is dropped, and a value wholly inside single or double quotes is taken
// without them. Nothing else is special: '#', '$' and '\' in a value are part
// of it. A byte order mark and CRLF line ends, as Windows editors leave them,
// are understood.
//
// The error names line numbers and variables, never a value.
func Parse(text []byte) (map[string]string, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("larger than %d KiB", MaxSize>>10)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, fmt.Errorf("not UTF-8 text; save the file as UTF-8")
	}
	values := make(map[string]string)
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !ok || !isName(name) {
			return nil, fmt.Errorf("line %d is not NAME=value", i+1)
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("line %d sets %s a second time", i+1, name)
		}
		values[name] = unquote(strings.TrimSpace(value))
	}
	return values, nil
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
