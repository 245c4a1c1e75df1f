package dataverse

import (
	"net/http"
	"strings"
)

// serveRef answers for .../$ref: the links of a navigation property.
func (q *request) serveRef(at *target, opts options, prefer *preferences) (*answer, error) {
	switch {
	case q.reads():
		return q.listRefs(at, opts, prefer)
	case q.method == http.MethodPut && at.single != nil, q.method == http.MethodPost && at.set != nil && !at.member:
		return q.addRef(at, opts)
	case q.method == http.MethodDelete:
		return q.dropRef(at, opts)
	}
	return nil, badMethod(q.method)
}

func (q *request) listRefs(at *target, opts options, prefer *preferences) (*answer, error) {
	if at.set != nil && !at.member {
		if err := opts.only("$filter", "$orderby", "$top", "$count", "$skiptoken"); err != nil {
			return nil, err
		}
		ask, err := q.parseQuery(at.table, opts, opts)
		if err != nil {
			return nil, err
		}
		return q.listRows(at, ask, prefer, true)
	}
	if err := opts.only(); err != nil {
		return nil, err
	}
	if at.id == "" {
		return q.noContent(), nil
	}
	return prefer.json(http.StatusOK, object{{"@odata.context", q.root + "$metadata#$ref"}, {"@odata.id", q.view(prefer).link(at.table, at.id)}}), nil
}

// addRef makes the link in the body.
func (q *request) addRef(at *target, opts options) (*answer, error) {
	if err := opts.only(); err != nil {
		return nil, err
	}
	body, err := q.decode()
	if err != nil {
		return nil, err
	}
	ref, err := q.parseLink(body["@odata.id"], at.table.name)
	if err != nil {
		return nil, err
	}
	if at.set != nil {
		return q.noContent(), q.associate(at.owner, at.parent.id, at.set, ref)
	}
	q.org.data.update(at.owner, at.parent.id, map[string]any{at.single.column: ref}, q.by)
	return q.noContent(), nil
}

// dropRef ends a link: of a lookup, or the one that the path or $id names.
func (q *request) dropRef(at *target, opts options) (*answer, error) {
	if err := opts.only("$id"); err != nil {
		return nil, err
	}
	named, hasID := opts.get("$id")
	switch {
	case at.single != nil && !hasID:
		q.org.data.update(at.owner, at.parent.id, map[string]any{at.single.column: nil}, q.by)
		return q.noContent(), nil
	case at.member && !hasID:
		return q.noContent(), q.disassociate(at, at.id)
	case at.set == nil || at.member || !hasID:
		return nil, badQuery("The link that is to be deleted is not named: give $id.")
	}
	ref, err := q.parseLink(named, at.table.name)
	if err != nil {
		return nil, err
	}
	return q.noContent(), q.disassociate(at, ref.id)
}

// associate links record id of table t to target through a collection.
func (q *request) associate(t *table, id string, set *collection, target reference) error {
	if set.link != "" {
		q.org.data.link(newLink(set, t, id, target.id))
		return nil
	}
	q.org.data.update(q.org.data.schema.table(set.target), target.id, map[string]any{set.column: reference{t.name, id}}, q.by)
	return nil
}

func (q *request) disassociate(at *target, id string) error {
	d, gone := q.org.data, false
	if at.set.link != "" {
		gone = d.unlink(newLink(at.set, at.owner, at.parent.id, id))
	} else if r := d.find(at.table, id); r.values[at.set.column] == (reference{at.owner.name, at.parent.id}) {
		d.update(at.table, id, map[string]any{at.set.column: nil}, q.by)
		gone = true
	}
	if !gone {
		return noRecord(at.table, id)
	}
	return nil
}

// parseLink reads a link to an existing record of the table named want: a
// path, a Content-ID reference, or an absolute address. An absolute one must
// begin with the service root of this very request, character for character;
// that is how the server tells its own records from foreign ones.
func (q *request) parseLink(v any, want string) (reference, error) {
	text, ok := v.(string)
	if !ok || text == "" {
		return reference{}, faultf(http.StatusBadRequest, codePayload, "Error identified in Payload provided by the user: a link to a record is required.")
	}
	at, err := q.locateLink(text)
	if err != nil {
		return reference{}, err
	}
	if at.id == "" {
		return reference{}, q.absent(at)
	}
	if at.table.name != want {
		return reference{}, badQuery("The link '%s' leads to a record of type '%s', not '%s'.", text, at.table.name, want)
	}
	return reference{at.table.name, at.id}, nil
}

// locateLink finds what a link names, which need not exist.
func (q *request) locateLink(text string) (*target, error) {
	if strings.Contains(strings.SplitN(text, "(", 2)[0], "://") {
		var ok bool
		if text, ok = strings.CutPrefix(text, q.root); !ok {
			return nil, badQuery("AbsoluteUri should contain ServiceRouteUri")
		}
	}
	segments, err := splitPath(strings.TrimPrefix(text, "/"))
	if err != nil {
		return nil, err
	}
	at, err := q.resolve(segments)
	if err != nil {
		return nil, err
	}
	if !at.oneMeant || at.parent != nil || at.column != nil || at.action != "" {
		return nil, badQuery("The link '%s' does not lead to a record.", text)
	}
	return at, nil
}
