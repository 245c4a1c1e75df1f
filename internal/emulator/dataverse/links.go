package dataverse

import (
	"cmp"
	"slices"
)

// link joins two records many-to-many.
type link struct{ name, left, right string }

// link joins two records many-to-many; a link that is there stays.
func (d *store) link(l link) {
	if _, ok := d.links[l]; ok {
		return
	}
	d.version++
	d.links[l] = d.version
	d.note(func() { delete(d.links, l) })
}

// unlink ends a link and reports whether there was one.
func (d *store) unlink(l link) bool {
	at, ok := d.links[l]
	if ok {
		delete(d.links, l)
		d.note(func() { d.links[l] = at })
	}
	return ok
}

// related gives the rows that a collection of one record leads to, in order of
// creation.
func (d *store) related(t *table, id string, c *collection) []*row {
	if c.link == "" {
		return d.byParent(t, c)[id]
	}
	target := d.schema.table(c.target)
	var out []*row
	for l := range d.links {
		if other, ok := l.from(c, t, id); ok {
			out = append(out, d.find(target, other))
		}
	}
	slices.SortFunc(out, func(a, b *row) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// newLink joins record id of table t with other by collection c. A link's left
// side is the table whose name sorts first, so that both sides name one link.
func newLink(c *collection, t *table, id, other string) link {
	if t.name < c.target {
		return link{c.link, id, other}
	}
	return link{c.link, other, id}
}

// from gives the far side of the link seen from record id of table t.
func (l link) from(c *collection, t *table, id string) (other string, ok bool) {
	if l == newLink(c, t, id, l.right) {
		return l.right, true
	}
	if l == newLink(c, t, id, l.left) {
		return l.left, true
	}
	return "", false
}

// byParent gives the rows of a one-to-many collection of table t, by the id of
// the record that they belong to, in order of creation.
func (d *store) byParent(t *table, c *collection) map[string][]*row {
	held := d.rows[c.target]
	index := map[string][]*row{}
	for _, id := range held.order {
		r := held.byID[id]
		if up, ok := r.values[c.column].(reference); ok && up.table == t.name {
			index[up.id] = append(index[up.id], r)
		}
	}
	return index
}
