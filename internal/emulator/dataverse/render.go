package dataverse

import (
	"strconv"
	"strings"
)

const (
	formattedValue = "OData.Community.Display.V1.FormattedValue"
	lookupName     = "Microsoft.Dynamics.CRM.lookuplogicalname"
	lookupProperty = "Microsoft.Dynamics.CRM.associatednavigationproperty"
)

// view turns rows into JSON as one request asked for them.
type view struct {
	org      *Organization
	root     string
	prefer   *preferences
	children map[*collection]map[string][]*row // of collections that were expanded, by the parent's id
}

func (q *request) view(p *preferences) *view {
	return &view{q.org, q.root, p, map[*collection]map[string][]*row{}}
}

// link is the address of a record.
func (v *view) link(t *table, id string) string { return v.root + t.set + "(" + id + ")" }

func etag(r *row) string { return `W/"` + strconv.FormatInt(r.version, 10) + `"` }

// row gives a record as ask wants it.
func (v *view) row(ask *query, r *row) object {
	t := ask.table
	o := v.heading(t, r)
	for _, c := range v.columns(ask) {
		o = v.appendColumn(o, t, c, r)
	}
	if v.prefer.metadata == "full" {
		o = v.appendLinks(o, t, r)
	}
	for _, e := range ask.expand {
		o = v.appendExpansion(o, t, e, r)
	}
	return o
}

// heading gives the control information that precedes a record's columns.
func (v *view) heading(t *table, r *row) object {
	switch v.prefer.metadata {
	case "none":
		return nil
	case "full":
		link := v.link(t, r.id)
		return object{{"@odata.type", "#" + t.edmType()}, {"@odata.id", link}, {"@odata.etag", etag(r)},
			{"@odata.editLink", link}, {"@odata.readLink", link}}
	}
	return object{{"@odata.etag", etag(r)}}
}

// columns gives the columns that are shown: those selected and the primary
// key, or all.
func (v *view) columns(ask *query) []*column {
	if ask.shown == nil {
		return ask.table.columns
	}
	for _, c := range ask.shown {
		if c.name == ask.table.id {
			return ask.shown
		}
	}
	return append(ask.shown[:len(ask.shown):len(ask.shown)], ask.table.column(ask.table.id))
}

// appendColumn adds a column, after the annotations that are asked for.
func (v *view) appendColumn(o object, t *table, c *column, r *row) object {
	held, name := r.values[c.name], c.wire()
	if v.prefer.metadata == "full" && held != nil {
		if edmType := strings.TrimPrefix(edm[c.kind], "Edm."); edmType != "String" && edmType != "Boolean" && edmType != "Double" {
			o = append(o, member{name + "@odata.type", "#" + edmType})
		}
	}
	switch held := held.(type) {
	case reference:
		return append(v.annotateLookup(o, t, c, held), member{name, held.id})
	case *file:
		return append(o, member{name, held.id}, member{name + "_name", held.name})
	}
	if text, ok := formatted(c, held); ok && v.prefer.wants(formattedValue) {
		o = append(o, member{name + "@" + formattedValue, text})
	}
	return append(o, member{name, held})
}

func (v *view) annotateLookup(o object, t *table, c *column, ref reference) object {
	name := c.wire()
	if title := v.org.data.title(ref); title != nil && v.prefer.wants(formattedValue) {
		o = append(o, member{name + "@" + formattedValue, title})
	}
	if v.prefer.wants(lookupProperty) {
		o = append(o, member{name + "@" + lookupProperty, t.navigation(c.name, ref.table)})
	}
	if v.prefer.wants(lookupName) {
		o = append(o, member{name + "@" + lookupName, ref.table})
	}
	return o
}

// appendLinks adds the links of every navigation property, for full metadata.
func (v *view) appendLinks(o object, t *table, r *row) object {
	add := func(name string) {
		link := v.link(t, r.id) + "/" + name
		o = append(o, member{name + "@odata.associationLink", link + "/$ref"}, member{name + "@odata.navigationLink", link})
	}
	for _, s := range t.singles {
		add(s.name)
	}
	for _, c := range t.collections {
		add(c.name)
	}
	return o
}

// appendExpansion adds the records that an $expand asks for.
func (v *view) appendExpansion(o object, t *table, e *expansion, r *row) object {
	if e.set != nil {
		return v.appendCollection(o, t, e, r)
	}
	led, ok := r.values[e.single.column].(reference)
	to := v.org.data.find(e.query.table, led.id)
	if !ok || led.table != e.single.target || to == nil {
		return append(o, member{e.single.name, nil})
	}
	if e.ref {
		return append(o, member{e.single.name, object{{"@odata.id", v.link(e.query.table, led.id)}}})
	}
	return append(o, member{e.single.name, v.row(e.query, to)})
}

func (v *view) appendCollection(o object, t *table, e *expansion, r *row) object {
	d, name := v.org.data, e.set.name
	rows := e.query.pick(d, v.related(t, e.set, r))
	if e.query.count {
		o = append(o, member{name + "@odata.count", min(len(rows), maxPage)})
	}
	if e.query.top >= 0 && v.prefer.pageSize == 0 {
		rows = rows[:min(e.query.top, len(rows))]
	}
	shown := rows[:min(len(rows), v.prefer.page())]
	o = append(o, member{name, v.list(e.query, shown, e.ref)})
	if len(shown) == len(rows) {
		return o
	}
	path := t.set + "(" + r.id + ")/" + name
	if e.ref {
		path += "/$ref"
	}
	mark := bookmark{page: 2, last: shown[len(shown)-1].id, first: shown[0].id}
	return append(o, member{name + "@odata.nextLink", v.root + path + "?" + encodeOptions(e.query.given) + v.org.skipToken(v.root, path, e.query.given, e.query.table, mark)})
}

// related is the store's related for a view of many rows: the collection is
// looked through once and not once a row.
func (v *view) related(t *table, set *collection, r *row) []*row {
	if set.link != "" {
		return v.org.data.related(t, r.id, set)
	}
	index, ok := v.children[set]
	if !ok {
		index = v.org.data.byParent(t, set)
		v.children[set] = index
	}
	return index[r.id]
}

// list gives rows, or only links to them.
func (v *view) list(ask *query, rows []*row, ref bool) list {
	out := make(list, 0, len(rows))
	for _, r := range rows {
		if ref {
			out = append(out, object{{"@odata.id", v.link(ask.table, r.id)}})
			continue
		}
		out = append(out, v.row(ask, r))
	}
	return out
}

// pick gives the rows that the query's filter lets through, in its order.
func (ask *query) pick(d *store, rows []*row) []*row {
	out := make([]*row, 0, len(rows))
	for _, r := range rows {
		if ask.filter == nil || ask.filter(d, r) {
			out = append(out, r)
		}
	}
	d.sortRows(out, ask.order)
	return out
}

// shape is the part of a context URL that says what is shown: "(name,x(y))".
func (ask *query) shape() string {
	if ask.shown == nil && len(ask.expand) == 0 {
		return ""
	}
	var names []string
	for _, c := range ask.shown {
		names = append(names, c.wire())
	}
	for _, e := range ask.expand {
		inner := e.query.shape()
		if inner == "" {
			inner = "()"
		}
		names = append(names, e.name()+inner)
	}
	return "(" + strings.Join(names, ",") + ")"
}
