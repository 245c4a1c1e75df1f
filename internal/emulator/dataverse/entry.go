package dataverse

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// entry is a record as a body describes it.
type entry struct {
	id     string         // from the primary key column, or ""
	values map[string]any // by logical column name
	links  []bond         // records that are to be linked through collections
	nested []child        // records that are to be made in collections
}

type bond struct {
	set    *collection
	target reference
}

type child struct {
	set  *collection
	body map[string]any
}

// byteOrderMark may precede JSON: Windows tools write it.
var byteOrderMark = []byte("\ufeff")

// decode reads the request's body as one JSON object.
func (q *request) decode() (map[string]any, error) {
	var body map[string]any
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(q.body, byteOrderMark)))
	decoder.UseNumber()
	err := decoder.Decode(&body)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the JSON object")
		}
	}
	if err != nil {
		return nil, faultf(http.StatusBadRequest, codePayload, "Error identified in Payload provided by the user: %v", err)
	}
	if body == nil {
		return nil, faultf(http.StatusBadRequest, codePayload, "Error identified in Payload provided by the user: an object is required.")
	}
	return body, nil
}

// readEntry reads a body as a record of table t. Links to other records,
// nested records and lists of either are allowed only where making says that
// the record is new.
func (q *request) readEntry(t *table, body map[string]any, making bool) (*entry, error) {
	e := &entry{values: map[string]any{}}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		v := body[name]
		var err error
		bare, bind := strings.CutSuffix(name, "@odata.bind")
		switch {
		case name == "@odata.type":
			if s, ok := v.(string); !ok || q.org.data.schema.cast(s) != t {
				err = badPayload(t, "The type '%v' is not that of the resource.", v)
			}
		case bind:
			err = q.bind(t, e, bare, v, making)
		case strings.Contains(name, "@"):
			// Annotations that came with a record may be sent back with it.
		default:
			err = q.property(t, e, name, v, making)
		}
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

// bind reads "navigation@odata.bind".
func (q *request) bind(t *table, e *entry, name string, v any, making bool) error {
	if nav := t.single(name); nav != nil {
		return q.bindSingle(t, e, nav, v)
	}
	nav := t.collection(name)
	if nav == nil {
		return unknownProperty(t, name)
	}
	links, ok := v.([]any)
	if !ok || !making {
		return badPayload(t, "The collection '%s' can be bound only by a list, in a new record.", name)
	}
	for _, link := range links {
		ref, err := q.parseLink(link, nav.target)
		if err != nil {
			return err
		}
		e.links = append(e.links, bond{nav, ref})
	}
	return nil
}

func (q *request) bindSingle(t *table, e *entry, nav *single, v any) error {
	if v == nil {
		e.values[nav.column] = nil
		return nil
	}
	ref, err := q.parseLink(v, nav.target)
	if err != nil {
		return err
	}
	if !t.stored(nav.column).fixed {
		e.values[nav.column] = ref
	}
	return nil
}

// property reads a column, or a navigation property that holds null, a new
// record or a list of new records.
func (q *request) property(t *table, e *entry, name string, v any, making bool) error {
	if c := t.column(name); c != nil {
		return setColumn(t, e, c, v)
	}
	if nav := t.single(name); nav != nil {
		return q.nestSingle(t, e, nav, v, making)
	}
	nav := t.collection(name)
	if nav == nil {
		return unknownProperty(t, name)
	}
	items, ok := v.([]any)
	if !ok || !making {
		return badPayload(t, "The collection '%s' can be given only as a list, in a new record.", name)
	}
	for _, item := range items {
		body, ok := item.(map[string]any)
		if !ok {
			return badPayload(t, "An item of '%s' is not an object.", name)
		}
		e.nested = append(e.nested, child{nav, body})
	}
	return nil
}

// nestSingle makes the record that stands where a link is expected, so that
// the lookup can lead to it.
func (q *request) nestSingle(t *table, e *entry, nav *single, v any, making bool) error {
	if v == nil {
		e.values[nav.column] = nil
		return nil
	}
	body, ok := v.(map[string]any)
	if !ok || !making {
		return badPayload(t, "The navigation property '%s' can hold a record only in a new record.", nav.name)
	}
	target := q.org.data.schema.table(nav.target)
	id, err := q.insert(target, keyPart{}, body)
	if err != nil {
		return err
	}
	e.values[nav.column] = reference{target.name, id}
	return nil
}

func setColumn(t *table, e *entry, c *column, v any) error {
	if c.kind == kindLookup {
		return badPayload(t, "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead. ('%s')", c.wire())
	}
	if c.kind == kindFile {
		return badPayload(t, "The file column '%s' is written by uploading to it.", c.name)
	}
	value, err := coerce(t, c, v)
	if err != nil {
		return err
	}
	if c.name == t.id {
		e.id, _ = value.(string)
		return nil
	}
	if !c.fixed {
		e.values[c.name] = value
	}
	return nil
}

func unknownProperty(t *table, name string) error {
	return badPayload(t, "The property '%s' does not exist on type '%s'. Make sure to only use property names that are defined by the type.", name, t.edmType())
}
