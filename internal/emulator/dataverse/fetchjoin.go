package dataverse

// joinedRow is one row of a FetchXML result: a row of the entity and, by alias,
// those that were joined to it. A row that an outer join did not find is nil.
type joinedRow struct {
	row    *row
	linked map[string]*row
}

// join gives all rows of a query, in its order.
func (q *request) join(f *fetched) []joinedRow {
	d := q.org.data
	ask := &query{table: f.root.table, filter: f.root.filter, order: f.order}
	var found []joinedRow
	for _, r := range ask.pick(d, d.all(f.root.table)) {
		found = append(found, joinedRow{row: r})
	}
	return d.joinLinks(found, &f.root, func(j joinedRow) *row { return j.row })
}

// joinLinks joins the link-entities of one source, whose row in a joined row
// is given by of.
func (d *store) joinLinks(found []joinedRow, s *source, of func(joinedRow) *row) []joinedRow {
	for _, l := range s.links {
		index := d.indexBy(l)
		var wider []joinedRow
		for _, j := range found {
			var matches []*row
			if r := of(j); r != nil {
				matches = index[joinValue(r.values[l.to.name])]
			}
			if len(matches) == 0 && l.outer {
				matches = []*row{nil}
			}
			for _, m := range matches {
				wider = append(wider, j.with(l.alias, m))
			}
		}
		found = d.joinLinks(wider, &l.source, func(j joinedRow) *row { return j.linked[l.alias] })
	}
	return found
}

// indexBy gives the rows of a link-entity that pass its filter, by the value
// that they are joined on.
func (d *store) indexBy(l *joinedSource) map[string][]*row {
	index := map[string][]*row{}
	for _, r := range d.all(l.table) {
		if v := joinValue(r.values[l.from.name]); v != "" && (l.filter == nil || l.filter(d, r)) {
			index[v] = append(index[v], r)
		}
	}
	return index
}

// joinValue is the identifier or text that rows are joined on, "" for null.
func joinValue(v any) string {
	switch v := v.(type) {
	case reference:
		return v.id
	case string:
		return v
	}
	return ""
}

func (j joinedRow) with(alias string, r *row) joinedRow {
	linked := map[string]*row{alias: r}
	for name, held := range j.linked {
		linked[name] = held
	}
	return joinedRow{j.row, linked}
}

// fetchedRow gives a joined row as JSON: the entity's columns, then those of
// the link-entities as alias.column, nulls left out.
func (q *request) fetchedRow(root *source, j joinedRow, prefer *preferences) object {
	v := q.view(prefer)
	o := v.row(&query{table: root.table, shown: root.shown}, j.row)
	return v.appendLinked(o, root, j)
}

func (v *view) appendLinked(o object, s *source, j joinedRow) object {
	for _, l := range s.links {
		r := j.linked[l.alias]
		shown := l.shown
		if shown == nil {
			shown = l.table.columns
		}
		for _, c := range shown {
			if r == nil || r.values[c.name] == nil {
				continue
			}
			for _, m := range v.appendColumn(nil, l.table, c, r) {
				o = append(o, member{l.alias + "." + linkedName(c, m.name), m.value})
			}
		}
		o = v.appendLinked(o, &l.source, j)
	}
	return o
}

// linkedName is the name of a link-entity's column or annotation: lookups keep
// their logical name here.
func linkedName(c *column, name string) string {
	return c.name + name[len(c.wire()):]
}
