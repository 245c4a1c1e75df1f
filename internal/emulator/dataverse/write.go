package dataverse

import (
	"net/http"
	"strings"
)

// create makes a record of table t from the request's body. key is the key in
// the URL of an upsert, or empty.
func (q *request) create(t *table, key keyPart, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only("$select", "$expand"); err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(t, opts, opts)
	if err != nil {
		return nil, err
	}
	body, err := q.decode()
	if err != nil {
		return nil, err
	}
	id, err := q.insert(t, key, body)
	if err != nil {
		return nil, err
	}
	link := q.view(prefer).link(t, id)
	if prefer.representation {
		a := q.record(http.StatusCreated, ask, q.org.data.find(t, id), prefer)
		a.set("Location", link)
		a.set("OData-EntityId", link)
		return a, nil
	}
	a := q.noContent()
	a.set("Location", link)
	a.set("OData-EntityId", link)
	return a, nil
}

// insert makes a record, with the records nested in it, and returns its id.
func (q *request) insert(t *table, key keyPart, body map[string]any) (string, error) {
	e, err := q.readEntry(t, body, true)
	if err != nil {
		return "", err
	}
	return q.store(t, key, e)
}

// store makes a record of what was read, and returns its id.
func (q *request) store(t *table, key keyPart, e *entry) (string, error) {
	d := q.org.data
	for name, v := range key.values {
		if t.stored(name).kind == kindLookup {
			v = reference{t.lookupTarget(name), v.(string)}
		}
		e.values[name] = v
	}
	id := key.id
	if id == "" {
		id = e.id
	}
	if d.find(t, id) != nil {
		return "", faultf(http.StatusPreconditionFailed, codeDuplicate, "A record with matching key values already exists.")
	}
	if t.name == "systemuser" && e.values["businessunitid"] == nil {
		return "", badPayload(t, "The business unit of a user is required.")
	}
	if err := q.unique(t, id, e.values); err != nil {
		return "", err
	}
	id = d.insert(t, id, e.values, q.by).id
	return id, q.relate(t, id, e)
}

// lookupTarget names the only table that a lookup column can lead to.
func (t *table) lookupTarget(column string) string {
	for _, s := range t.singles {
		if s.column == column {
			return s.target
		}
	}
	return ""
}

// relate makes the links and the nested records of a record just made.
func (q *request) relate(t *table, id string, e *entry) error {
	for _, l := range e.links {
		if err := q.associate(t, id, l.set, l.target); err != nil {
			return err
		}
	}
	for _, n := range e.nested {
		target := q.org.data.schema.table(n.set.target)
		child, err := q.insert(target, keyPart{}, n.body)
		if err != nil {
			return err
		}
		if err := q.associate(t, id, n.set, reference{target.name, child}); err != nil {
			return err
		}
	}
	return nil
}

// unique refuses values that another record already has as an alternate key.
func (q *request) unique(t *table, id string, values map[string]any) error {
	for _, names := range t.keys {
		key := keyPart{values: map[string]any{}}
		for _, name := range names {
			switch v := values[name].(type) {
			case string:
				key.values[name] = v
			case reference:
				key.values[name] = v.id
			}
		}
		if len(key.values) < len(names) {
			continue
		}
		if other := q.org.data.lookup(t, key); other != nil && other.id != id {
			return faultf(http.StatusPreconditionFailed, "0x80060892",
				"A record that has the attribute values %s already exists.", strings.Join(names, ", "))
		}
	}
	return nil
}

// patch changes a record, or makes it where it does not exist and the request
// allows that.
func (q *request) patch(at *target, opts options, prefer *preferences) (*answer, error) {
	if q.content != nil {
		return nil, faultf(http.StatusUnsupportedMediaType, codePayload, "The content type 'application/octet-stream' is only for file columns.")
	}
	if at.id == "" {
		if q.header.Get("If-Match") != "" {
			return nil, q.absent(at)
		}
		return q.create(at.table, at.keys, opts, prefer)
	}
	if q.header.Get("If-None-Match") == "*" {
		return nil, faultf(http.StatusPreconditionFailed, codeDuplicate, "A record with matching key values already exists.")
	}
	if err := opts.only("$select", "$expand"); err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(at.table, opts, opts)
	if err != nil {
		return nil, err
	}
	if err := q.matching(at); err != nil {
		return nil, err
	}
	body, err := q.decode()
	if err != nil {
		return nil, err
	}
	if err := q.change(at.table, at.id, body); err != nil {
		return nil, err
	}
	if prefer.representation {
		return q.record(http.StatusOK, ask, q.org.data.find(at.table, at.id), prefer), nil
	}
	a := q.noContent()
	a.set("OData-EntityId", q.view(prefer).link(at.table, at.id))
	return a, nil
}

// matching refuses a write whose If-Match names another version.
func (q *request) matching(at *target) error {
	wanted := q.header.Get("If-Match")
	if wanted == "" || wanted == "*" || wanted == etag(q.org.data.find(at.table, at.id)) {
		return nil
	}
	return faultf(http.StatusPreconditionFailed, codeVersion,
		"The version of the existing record doesn't match the RowVersion property provided.")
}

// change writes a body's values into a record that exists.
func (q *request) change(t *table, id string, body map[string]any) error {
	e, err := q.readEntry(t, body, false)
	if err != nil {
		return err
	}
	if e.id != "" && e.id != id {
		return badPayload(t, "The key '%s' in the body is not that of the record.", e.id)
	}
	return q.rewrite(t, id, e)
}

// rewrite writes what was read into a record that exists.
func (q *request) rewrite(t *table, id string, e *entry) error {
	after := map[string]any{}
	for name, v := range q.org.data.find(t, id).values {
		after[name] = v
	}
	for name, v := range e.values {
		after[name] = v
	}
	if err := q.unique(t, id, after); err != nil {
		return err
	}
	q.org.data.update(t, id, e.values, q.by)
	return nil
}

func (q *request) delete(at *target, opts options) (*answer, error) {
	if err := opts.only(); err != nil {
		return nil, err
	}
	if at.id == "" {
		return nil, q.absent(at)
	}
	if err := q.matching(at); err != nil {
		return nil, err
	}
	q.org.data.remove(at.table, at.id)
	return q.noContent(), nil
}
