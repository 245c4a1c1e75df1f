// Package help holds what people read about codes that callers can get: the
// proxy's own, and those of organizations that it knows. docs/errors.md, the
// portal and "dynproxy help" show the same words.
package help

import (
	"fmt"
	"slices"
	"strings"

	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
)

// Entry is what there is to read about a code.
type Entry struct {
	Name     string // of Dynproxy-Error, or of Dynproxy-Hint
	Means    string // what has happened
	Caller   string // what who calls can do
	Operator string // what who runs the proxy can do
}

// Problems are the entries of the proxy's own codes, in the order in which a
// call meets them.
func Problems() []Entry { return problems }

// Hints are those of organizations' refusals that are known.
func Hints() []Entry { return hints }

// Lookup returns the entry of a name.
func Lookup(name string) (Entry, bool) {
	for _, e := range slices.Concat(problems, hints) {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Title is the entry's first line: its name, and how it is recognized.
func (e Entry) Title() string {
	if codes := e.codes(); len(codes) > 0 {
		return e.Name + ": " + strings.Join(codes, ", ")
	}
	return fmt.Sprintf("%s: status %d", e.Name, (&problem.Error{Code: problem.Code(e.Name)}).Status())
}

// codes are those of Dataverse's that a hint stands for.
func (e Entry) codes() []string {
	var codes []string
	for code := range refusal.Codes() {
		if string(refusal.Refusal{Code: code}.Hint()) == e.Name {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}
