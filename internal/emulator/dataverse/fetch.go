package dataverse

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// node is one element of a FetchXML query.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Nodes   []node     `xml:",any"`
	Text    string     `xml:",chardata"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// only refuses attributes besides those named, whose meaning would be lost.
func (n *node) only(names ...string) error {
	for _, a := range n.Attrs {
		if !slices.Contains(names, a.Name.Local) {
			return notImplemented("The attribute '%s' of the FetchXML element '%s' is not supported.", a.Name.Local, n.XMLName.Local)
		}
	}
	return nil
}

// fetched is a FetchXML query that has been read.
type fetched struct {
	root    source
	order   []ordering
	page    int
	size    int
	limited bool // top was given: no paging
	total   bool
	mark    *bookmark
}

// source is one table of a query: the entity, or a link-entity joined to it.
type source struct {
	table  *table
	shown  []*column // nil for all
	filter predicate
	links  []*joinedSource
}

type joinedSource struct {
	source
	from, to *column // of this table, of the one it is joined to
	alias    string
	outer    bool
}

// repeated gives an alias that more than one link-entity below s has, or "".
func (s *source) repeated(seen map[string]bool) string {
	for _, l := range s.links {
		if seen[l.alias] {
			return l.alias
		}
		seen[l.alias] = true
		if again := l.repeated(seen); again != "" {
			return again
		}
	}
	return ""
}

// fetch answers a FetchXML query.
func (q *request) fetch(t *table, text string, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only("fetchXml"); err != nil {
		return nil, err
	}
	f, err := q.readFetch(t, text)
	if err != nil {
		return nil, err
	}
	if alias := f.root.repeated(map[string]bool{}); alias != "" {
		return nil, badQuery("The alias '%s' is used for more than one link-entity.", alias)
	}
	found := q.join(f)
	out := object{{"@odata.context", q.root + "$metadata#" + t.set + (&query{table: t, shown: f.root.shown}).shape()}}
	if f.total {
		out = append(out, member{"@Microsoft.Dynamics.CRM.totalrecordcount", min(len(found), maxPage)},
			member{"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded", len(found) > maxPage})
	}
	rest := f.skip(q.org.data, found)
	shown := rest[:min(f.size, len(rest))]
	more := len(shown) < len(rest) && !f.limited
	if more {
		next := bookmark{page: f.page + 1, last: shown[len(shown)-1].row.id, first: shown[0].row.id}
		out = append(out, member{"@Microsoft.Dynamics.CRM.fetchxmlpagingcookie", fmt.Sprintf(
			`<cookie pagenumber="%d" pagingcookie="%s" istracking="False" />`, next.page, escapeLower(escapeLower(next.inner(t, ""))))})
	}
	if prefer.wants("Microsoft.Dynamics.CRM.morerecords") {
		out = append(out, member{"@Microsoft.Dynamics.CRM.morerecords", more})
	}
	value := list{}
	for _, j := range shown {
		value = append(value, q.fetchedRow(&f.root, j, prefer))
	}
	return prefer.json(http.StatusOK, append(out, member{"value", value})), nil
}

// skip gives the rows from the page that is asked for onwards. The cookie
// names the last row before it; joined rows are counted, since they repeat.
func (f *fetched) skip(d *store, found []joinedRow) []joinedRow {
	if f.mark == nil || len(f.root.links) > 0 {
		return found[min(len(found), (f.page-1)*f.size):]
	}
	rows := make([]*row, len(found))
	for i, j := range found {
		rows[i] = j.row
	}
	return found[len(found)-len(f.mark.after(d, f.root.table, rows, f.order)):]
}

func (q *request) readFetch(t *table, text string) (*fetched, error) {
	var root node
	if err := xml.Unmarshal([]byte(text), &root); err != nil || root.XMLName.Local != "fetch" {
		return nil, badQuery("Invalid XML in the FetchXML query: %v", err)
	}
	return q.readFetchTree(t, &root)
}

// readFetchTree reads a query that is an element already.
func (q *request) readFetchTree(t *table, root *node) (*fetched, error) {
	err := root.only("version", "output-format", "mapping", "no-lock", "count", "page", "paging-cookie", "top", "distinct", "aggregate", "returntotalrecordcount")
	if err != nil {
		return nil, err
	}
	if isTrue(root.attr("distinct")) || isTrue(root.attr("aggregate")) {
		return nil, notImplemented("The attributes 'distinct' and 'aggregate' of FetchXML are not supported.")
	}
	f := &fetched{page: 1, size: maxPage, total: isTrue(root.attr("returntotalrecordcount"))}
	if err := f.readPaging(root); err != nil {
		return nil, err
	}
	if len(root.Nodes) != 1 || root.Nodes[0].XMLName.Local != "entity" || root.Nodes[0].attr("name") != t.name {
		return nil, badQuery("The FetchXML query must hold one entity, of the name '%s'.", t.name)
	}
	if err := root.Nodes[0].only("name"); err != nil {
		return nil, err
	}
	return f, q.readSource(&root.Nodes[0], t, &f.root, f)
}

func isTrue(s string) bool { return s == "true" || s == "1" }

func (f *fetched) readPaging(root *node) error {
	for _, name := range []string{"count", "page", "top"} {
		text := root.attr(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			return badQuery("The value '%s' of the FetchXML attribute '%s' is not valid.", text, name)
		}
		switch name {
		case "page":
			f.page = n
		case "top":
			f.limited = true
			fallthrough
		case "count":
			f.size = min(n, maxPage)
		}
	}
	if cookie := root.attr("paging-cookie"); cookie != "" {
		b, _, ok := readCookie(cookie)
		if !ok {
			return badQuery("Malformed XML in the Paging Cookie.")
		}
		f.mark = &b
	}
	return nil
}

// readSource reads what stands in an entity or link-entity. f is nil for the
// latter, whose rows have no order of their own.
func (q *request) readSource(n *node, t *table, s *source, f *fetched) error {
	s.table = t
	s.shown = []*column{}
	all, some := false, false
	var err error
	for i := range n.Nodes {
		inner := &n.Nodes[i]
		switch inner.XMLName.Local {
		case "attribute":
			some = true
			err = s.readAttribute(inner)
		case "all-attributes":
			all = true
		case "filter":
			err = s.addFilter(inner)
		case "link-entity":
			err = q.readLink(inner, s)
		case "order":
			err = f.readOrder(inner, t)
		default:
			err = badQuery("The FetchXML element '%s' is not valid here.", inner.XMLName.Local)
		}
		if err != nil {
			return err
		}
	}
	// An entity that names no columns shows all; a link-entity shows none.
	if all || f != nil && !some {
		s.shown = nil
	}
	return nil
}

func (s *source) readAttribute(n *node) error {
	if err := n.only("name"); err != nil {
		return err
	}
	c, err := fetchColumn(s.table, n.attr("name"))
	if err == nil && !slices.Contains(s.shown, c) {
		s.shown = append(s.shown, c)
	}
	return err
}

// fetchColumn finds a column by its logical name, as FetchXML gives it.
func fetchColumn(t *table, name string) (*column, error) {
	if c := t.stored(name); c != nil {
		return c, nil
	}
	return nil, faultf(http.StatusBadRequest, "0x80041103", "'%s' entity doesn't contain attribute with Name = '%s'.", t.name, name)
}

func (f *fetched) readOrder(n *node, t *table) error {
	if f == nil {
		return notImplemented("The FetchXML element 'order' is not supported in a link-entity.")
	}
	if err := n.only("attribute", "descending"); err != nil {
		return err
	}
	c, err := fetchColumn(t, n.attr("attribute"))
	f.order = append(f.order, ordering{operand{column: c}, isTrue(n.attr("descending"))})
	return err
}

func (q *request) readLink(n *node, to *source) error {
	if err := n.only("name", "from", "to", "alias", "link-type", "visible", "intersect"); err != nil {
		return err
	}
	t := q.org.data.schema.table(n.attr("name"))
	if t == nil {
		return badQuery("The entity with a name = '%s' was not found.", n.attr("name"))
	}
	l := &joinedSource{alias: n.attr("alias"), outer: n.attr("link-type") == "outer"}
	if kind := n.attr("link-type"); kind != "" && kind != "inner" && kind != "outer" {
		return notImplemented("The link-type '%s' of FetchXML is not supported.", kind)
	}
	if l.alias == "" {
		l.alias = t.name
	}
	var err error
	if l.from, err = fetchColumn(t, n.attr("from")); err != nil {
		return err
	}
	if l.to, err = fetchColumn(to.table, n.attr("to")); err != nil {
		return err
	}
	to.links = append(to.links, l)
	return q.readSource(n, t, &l.source, nil)
}
