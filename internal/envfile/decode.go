package envfile

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// A Fault is one setting that cannot be used: its variable, and what is wrong
// together with the cure. It never holds the value.
type Fault struct{ Variable, Cure string }

func (f Fault) String() string { return f.Variable + " " + f.Cure }

// Faults is every fault of one source of settings. As an error it prints one
// line each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Add appends a fault.
func (f *Faults) Add(variable, cure string, args ...any) {
	*f = append(*f, Fault{variable, fmt.Sprintf(cure, args...)})
}

// Take adds err to f if it consists of faults, and returns it otherwise.
func (f *Faults) Take(err error) error {
	more, are := errors.AsType[Faults](err)
	*f = append(*f, more...)
	if are {
		return nil
	}
	return err
}

// Unique is f with each fault once.
func (f Faults) Unique() Faults {
	var once Faults
	for _, fault := range f {
		if !slices.Contains(once, fault) {
			once = append(once, fault)
		}
	}
	return once
}

// Decode fills a T, whose fields carry `env` tags, from values. It returns
// every fault at once, named by variable and with the given prefix before each
// name. What is wrong has its default, so that whoever judges the rest does not
// find fault with it again.
func Decode[T any](values map[string]string, prefix string) (T, Faults) {
	var into T
	err := env.ParseWithOptions(&into, env.Options{Environment: values})
	if err == nil {
		return into, nil
	}
	var faults Faults
	right := maps.Clone(values)
	variables := variablesOf(reflect.TypeFor[T]())
	var all env.AggregateError
	if !errors.As(err, &all) {
		all.Errors = []error{err}
	}
	for _, e := range all.Errors {
		var parse env.ParseError
		if !errors.As(e, &parse) {
			// Only a mistake in the struct itself gets here; its text names types.
			faults.Add(prefix, "cannot be read: %v", reflect.TypeOf(e))
			continue
		}
		// ParseError names the Go field and quotes the value, which may be secret.
		faults.Add(prefix+variables[parse.Name], "%s", cureFor(parse.Type))
		delete(right, variables[parse.Name])
	}
	into = *new(T)
	env.ParseWithOptions(&into, env.Options{Environment: right}) // what could fail is told already
	return into, faults
}

// Names returns the variables that a T is filled from, sorted.
func Names[T any]() []string {
	var names []string
	for _, name := range variablesOf(reflect.TypeFor[T]()) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Hidden stands for a value that nobody must see.
const Hidden = "[redacted]"

// Redacted returns values with those of T's secrets Hidden: of the fields whose
// text must be asked for by Reveal.
func Redacted[T any](values map[string]string) map[string]string {
	shown := maps.Clone(values)
	for f := range fieldsOf(reflect.TypeFor[T]()) {
		_, secret := reflect.Zero(f.Type).Interface().(interface{ Reveal() string })
		if name := variableOf(f); secret && shown[name] != "" {
			shown[name] = Hidden
		}
	}
	return shown
}

// Defaults returns the variables of T that have a default, and it. What is
// either true or false, or a time, has one without a word of its tag.
func Defaults[T any]() map[string]string {
	zeros := map[reflect.Type]string{reflect.TypeFor[bool](): "false", reflect.TypeFor[time.Duration](): "0s"}
	defaults := make(map[string]string)
	for f := range fieldsOf(reflect.TypeFor[T]()) {
		if value := cmp.Or(f.Tag.Get("envDefault"), zeros[f.Type]); value != "" {
			defaults[variableOf(f)] = value
		}
	}
	return defaults
}

// Unknown returns the names in values that no field of T takes, sorted.
func Unknown[T any](values map[string]string) []string {
	known := Names[T]()
	var unknown []string
	for name := range values {
		if _, found := slices.BinarySearch(known, name); !found {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// variablesOf maps a struct's field names to the variables of their tags.
func variablesOf(t reflect.Type) map[string]string {
	names := make(map[string]string)
	for f := range fieldsOf(t) {
		if name := variableOf(f); name != "" {
			names[f.Name] = name
		}
	}
	return names
}

// fieldsOf yields the fields of a struct. Embedded structs count as their
// fields.
func fieldsOf(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Anonymous && f.Type.Kind() == reflect.Struct {
				for inner := range fieldsOf(f.Type) {
					if !yield(inner) {
						return
					}
				}
			} else if !yield(f) {
				return
			}
		}
	}
}

func variableOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
	return name
}

func cureFor(t reflect.Type) string {
	if own, ok := reflect.New(t).Interface().(interface{ Cure() string }); ok {
		return own.Cure()
	}
	if t == reflect.TypeFor[time.Duration]() {
		return "must be a duration such as 500ms, 30s or 5m"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int64:
		return "must be a whole number"
	case reflect.Float64:
		return "must be a number"
	}
	return "cannot be read as " + t.String()
}
