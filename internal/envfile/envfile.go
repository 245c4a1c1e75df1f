// Package envfile reads settings: files of NAME=value lines, directories of
// such files that are watched, and structs that are filled from them with
// every fault at once.
package envfile

import (
	"fmt"
	"strings"

	"dynproxy/internal/textfile"
)

// maxSize is the largest file that is read, in bytes.
const maxSize = 64 << 10

// Parse reads lines of NAME=value. Blank lines and lines that begin with '#'
// are skipped, "export " before a name is allowed, white space around name and
// value is dropped, and a value wholly inside single or double quotes is taken
// without them. Nothing else is special: '#', '$' and '\' in a value are part
// of it. The text may be written by any tool: see textfile.Decode.
//
// The error names every line that is wrong, and variables, never a value.
func Parse(text []byte) (map[string]string, error) {
	values, _, err := parse(text)
	return values, err
}

// parse is Parse, and tells the line that each variable stands in.
func parse(text []byte) (values map[string]string, at map[string]int, err error) {
	if len(text) > maxSize {
		return nil, nil, fmt.Errorf("larger than %d KiB", maxSize>>10)
	}
	if text, err = textfile.Decode(text); err != nil {
		return nil, nil, err
	}
	values, at = make(map[string]string), make(map[string]int)
	var faults Faults
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		_, twice := values[name]
		switch where := fmt.Sprintf("line %d", i+1); {
		case len(faults) == mostFaults:
			return nil, nil, faults
		case !ok || !isName(name):
			faults.Add(where, "is not NAME=value")
		case twice:
			faults.Add(where, "sets %s a second time", name)
		default:
			values[name], at[name] = unquote(strings.TrimSpace(value)), i+1
		}
	}
	if len(faults) > 0 {
		return nil, nil, faults
	}
	return values, at, nil
}

// mostFaults are told of one file: one that is none of ours has thousands.
const mostFaults = 20

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
