package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dynproxy/internal/problem"
)

// Door keeps from the API what is not asked as the description has it.
type Door struct {
	paths *http.ServeMux                  // whose patterns are the described paths
	known map[string]map[string]operation // by path and method
}

// operation is as much of a described request as its query is judged by.
type operation struct {
	Parameters []struct {
		Name, In string
		Schema   schema
	}
}

// schema says what a parameter may be.
type schema struct {
	Type             string
	Minimum, Maximum *int
	Enum             []string
}

// NewDoor returns the Door of the whole API.
func NewDoor() *Door {
	var api struct {
		Paths map[string]map[string]operation
	}
	if err := json.Unmarshal(description, &api); err != nil {
		panic(err) // it is part of the program
	}
	d := &Door{http.NewServeMux(), make(map[string]map[string]operation)}
	for path, operations := range api.Paths {
		if !strings.HasPrefix(path, "/api/") {
			continue // what probes and Prometheus add to an address is their affair
		}
		d.paths.Handle(path, http.NotFoundHandler())
		d.known[path] = make(map[string]operation)
		for method, o := range operations {
			d.known[path][strings.ToUpper(method)] = o
		}
	}
	return d
}

// Before lets through to next what is understood, and what is not described. A
// method that the address does not have, and a query with anything in it that
// means nothing, are refused: an answer that leaves a wish out would look like
// one that heeds it. A parameter without a value is one that is not given.
func (d *Door) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, path := d.paths.Handler(r)
		operations, described := d.known[path]
		if !described {
			next.ServeHTTP(w, r)
			return
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		o, has := operations[method]
		if !has {
			methods := strings.Join(slices.Sorted(maps.Keys(operations)), ", ")
			w.Header().Set("Allow", methods)
			e := problem.New(problem.BadRequest, "%s means nothing at this address; use one of: %s. /api/openapi.json says what each does.", r.Method, methods)
			e.HTTPStatus = http.StatusMethodNotAllowed
			e.Answer(w)
			return
		}
		if err := o.understood(r.URL.RawQuery); err != nil {
			problem.New(problem.BadRequest, "%s", err).Answer(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// understood says what of a query is not as o has it, and what may stand there.
func (o operation) understood(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("the query cannot be read: write & between parameters, and percent-encode what is special in a value (%25 for %, %3B for ;)")
	}
	known := make(map[string]schema)
	for _, p := range o.Parameters {
		if p.In == "query" {
			known[p.Name] = p.Schema
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		s, is := known[name]
		switch values := query[name]; {
		case len(known) == 0:
			return fmt.Errorf("there is no parameter %q here, nor any other; leave the query out", name)
		case !is:
			return fmt.Errorf("there is no parameter %q here; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values) > 1:
			return fmt.Errorf("%s is given %d times; give it once", name, len(values))
		case values[0] != "" && !s.allows(values[0]):
			return fmt.Errorf("%s must be %s", name, s)
		}
	}
	return nil
}

func (s schema) allows(value string) bool {
	if s.Type == "integer" {
		n, err := strconv.Atoi(value)
		return err == nil && n >= *s.Minimum && (s.Maximum == nil || n <= *s.Maximum)
	}
	return s.Enum == nil || slices.Contains(s.Enum, value)
}

// String says in words what may be.
func (s schema) String() string {
	switch {
	case s.Type != "integer":
		return "one of " + strings.Join(s.Enum, ", ")
	case s.Maximum == nil:
		return fmt.Sprintf("a whole number from %d", *s.Minimum)
	}
	return fmt.Sprintf("a whole number from %d to %d", *s.Minimum, *s.Maximum)
}
