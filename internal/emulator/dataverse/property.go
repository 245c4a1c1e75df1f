package dataverse

import (
	"net/http"
	"strings"
)

// serveColumn answers for one column of one record.
func (q *request) serveColumn(at *target, opts options, prefer *preferences) (*answer, error) {
	if at.column.kind == kindFile {
		return q.serveFile(at, opts, prefer)
	}
	if err := opts.only(); err != nil {
		return nil, err
	}
	switch {
	case q.reads():
		return q.retrieveColumn(at, prefer)
	case at.raw, at.parent != nil:
		return nil, badMethod(q.method)
	case q.method == http.MethodPut:
		return q.replaceColumn(at)
	case q.method == http.MethodDelete:
		return q.setValue(at, nil)
	}
	return nil, badMethod(q.method)
}

func (q *request) retrieveColumn(at *target, prefer *preferences) (*answer, error) {
	v := q.org.data.find(at.table, at.id).values[at.column.name]
	if ref, ok := v.(reference); ok {
		v = ref.id
	}
	if v == nil {
		return q.noContent(), nil
	}
	if at.raw {
		a := &answer{status: http.StatusOK, body: rawText(v)}
		a.set("Content-Type", "text/plain")
		a.set("OData-Version", "4.0")
		return a, nil
	}
	context := q.root + "$metadata#" + at.table.set + "(" + at.id + ")/" + at.column.wire()
	return prefer.json(http.StatusOK, object{{"@odata.context", context}, {"value", v}}), nil
}

// rawText is a value as /$value gives it: without quotes and escapes.
func rawText(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	return []byte(strings.Trim(string(appendJSON(nil, v)), `"`))
}

// replaceColumn takes {"value": ...}.
func (q *request) replaceColumn(at *target) (*answer, error) {
	body, err := q.decode()
	if err != nil {
		return nil, err
	}
	v, ok := body["value"]
	if !ok {
		return nil, badPayload(at.table, "The property 'value' is missing.")
	}
	return q.setValue(at, v)
}

func (q *request) setValue(at *target, v any) (*answer, error) {
	if at.column.fixed || at.column.kind == kindLookup {
		return nil, badPayload(at.table, "The property '%s' cannot be written.", at.column.wire())
	}
	if err := q.matching(at); err != nil {
		return nil, err
	}
	if err := q.change(at.table, at.id, map[string]any{at.column.name: v}); err != nil {
		return nil, err
	}
	return q.noContent(), nil
}
