package dataverse

import (
	"net/http"
	"strconv"
	"strings"
)

// serveResource answers a request for what its path leads to.
func (q *request) serveResource(at *target, opts options) (*answer, error) {
	prefer, err := parsePreferences(q.header)
	if err != nil {
		return nil, err
	}
	switch {
	case at.action != "":
		return q.boundOperation(at, opts, prefer)
	case at.ref:
		return q.serveRef(at, opts, prefer)
	case at.count:
		return q.countRows(at, opts)
	case at.column != nil:
		return q.serveColumn(at, opts, prefer)
	case at.oneMeant:
		return q.serveRecord(at, opts, prefer)
	}
	return q.serveSet(at, opts, prefer)
}

// serveSet answers for a table or a collection-valued property.
func (q *request) serveSet(at *target, opts options, prefer *preferences) (*answer, error) {
	switch {
	case q.method == http.MethodPost && at.parent == nil:
		return q.create(at.table, keyPart{}, opts, prefer)
	case !q.reads():
		return nil, badMethod(q.method)
	}
	if text, ok := opts.get("fetchXml"); ok {
		if at.parent != nil {
			return nil, notImplemented("FetchXML on a navigation property is not supported.")
		}
		return q.fetch(at.table, text, opts, prefer)
	}
	if token, ok := opts.get("$deltatoken"); ok {
		return q.changes(at, token, opts, prefer)
	}
	if err := opts.only("$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken"); err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(at.table, opts, opts)
	if err != nil {
		return nil, err
	}
	if prefer.track {
		if err := opts.only("$select", "$skiptoken"); err != nil || at.parent != nil {
			return nil, badQuery("Change tracking is supported only for a table, and only with $select.")
		}
	}
	return q.listRows(at, ask, prefer, false)
}

// rows gives the rows of a set before any filter.
func (q *request) rows(at *target) []*row {
	if at.parent != nil {
		return q.org.data.related(at.owner, at.parent.id, at.set)
	}
	return q.org.data.all(at.table)
}

// listRows answers with one page of rows, or of links to them.
func (q *request) listRows(at *target, ask *query, prefer *preferences, ref bool) (*answer, error) {
	rows := ask.pick(q.org.data, q.rows(at))
	total := len(rows)
	var mark bookmark
	if token, ok := ask.given.get("$skiptoken"); ok {
		var err error
		if mark, err = q.readSkipToken(token, ask.given); err != nil {
			return nil, err
		}
		rows = mark.after(q.org.data, at.table, rows, ask.order)
	}
	// A preferred page size takes the place of $top.
	if ask.top >= 0 && prefer.pageSize == 0 {
		rows = rows[:min(ask.top, len(rows))]
	}
	if prefer.track && mark.since == 0 {
		mark.since = q.org.data.version
	}
	shown := rows[:min(len(rows), prefer.page())]
	v := q.view(prefer)
	out := q.listHeading(at, ask, prefer, total, ref)
	if len(shown) == len(rows) && mark.since > 0 {
		out = append(out, member{"@odata.deltaLink", q.deltaLink(at.table, ask, mark.since)})
	}
	out = append(out, member{"value", v.list(ask, shown, ref)})
	if len(shown) < len(rows) {
		next := bookmark{max(mark.page, 1) + 1, shown[len(shown)-1].id, shown[0].id, mark.since}
		out = append(out, member{"@odata.nextLink", q.root + q.path + "?" + q.ownQuery() + q.org.skipToken(q.root, q.path, ask.given, at.table, next)})
	}
	return prefer.json(http.StatusOK, out), nil
}

// ownQuery gives the request's query as it was sent, without a paging token,
// ready for one to be added.
func (q *request) ownQuery() string {
	var out strings.Builder
	for part := range strings.SplitSeq(q.query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if part != "" && name != "$skiptoken" && !strings.EqualFold(name, "%24skiptoken") {
			out.WriteString(part + "&")
		}
	}
	return out.String()
}

// listHeading gives what precedes the rows of a list.
func (q *request) listHeading(at *target, ask *query, prefer *preferences, total int, ref bool) object {
	var out object
	if prefer.metadata != "none" {
		context := "$metadata#" + at.table.set + ask.shape()
		if ref {
			context = "$metadata#Collection($ref)"
		}
		out = append(out, member{"@odata.context", q.root + context})
	}
	if ask.count {
		out = append(out, member{"@odata.count", min(total, maxPage)})
	}
	known := -1
	if ask.count {
		known = min(total, maxPage)
	}
	if prefer.wants("Microsoft.Dynamics.CRM.totalrecordcount") {
		out = append(out, member{"@Microsoft.Dynamics.CRM.totalrecordcount", known})
	}
	if prefer.wants("Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded") {
		out = append(out, member{"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded", ask.count && total > maxPage})
	}
	if prefer.wants("Microsoft.Dynamics.CRM.globalmetadataversion") {
		out = append(out, member{"@Microsoft.Dynamics.CRM.globalmetadataversion", "1000000"})
	}
	return out
}

// countRows answers .../$count: plain text that begins with a byte order mark.
func (q *request) countRows(at *target, opts options) (*answer, error) {
	if !q.reads() {
		return nil, badMethod(q.method)
	}
	if err := opts.only("$filter"); err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(at.table, opts, opts)
	if err != nil {
		return nil, err
	}
	n := min(len(ask.pick(q.org.data, q.rows(at))), maxPage)
	a := &answer{status: http.StatusOK, body: []byte("\ufeff" + strconv.Itoa(n))}
	a.set("Content-Type", "text/plain")
	a.set("OData-Version", "4.0")
	return a, nil
}

// serveRecord answers for one record.
func (q *request) serveRecord(at *target, opts options, prefer *preferences) (*answer, error) {
	switch q.method {
	case http.MethodGet, http.MethodHead:
		return q.retrieve(at, opts, prefer)
	case http.MethodPatch, http.MethodDelete:
		if at.parent != nil {
			return nil, badMethod(q.method)
		}
		if q.method == http.MethodDelete {
			return q.delete(at, opts)
		}
		return q.patch(at, opts, prefer)
	}
	return nil, badMethod(q.method)
}

// retrieve answers with one record.
func (q *request) retrieve(at *target, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only("$select", "$expand"); err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(at.table, opts, opts)
	if err != nil {
		return nil, err
	}
	if at.id == "" && at.single != nil {
		return q.noContent(), nil
	}
	if at.id == "" {
		return nil, q.absent(at)
	}
	r := q.org.data.find(at.table, at.id)
	if q.unchanged(r, ask, prefer) {
		a := &answer{status: http.StatusNotModified}
		a.set("Content-Type", "application/json")
		a.set("ETag", etag(r))
		a.set("OData-Version", "4.0")
		return a, nil
	}
	return q.record(http.StatusOK, ask, r, prefer), nil
}

// unchanged reports whether If-None-Match names the record's version. It is
// heeded only where nothing but the record itself can change the answer; the
// value null, which Dataverse recommends on every request, names none.
func (q *request) unchanged(r *row, ask *query, prefer *preferences) bool {
	return len(ask.expand) == 0 && len(prefer.annotations) == 0 && q.header.Get("If-None-Match") == etag(r)
}

// record gives one record as an answer.
func (q *request) record(status int, ask *query, r *row, prefer *preferences) *answer {
	o := q.view(prefer).row(ask, r)
	if prefer.metadata != "none" {
		o = append(object{{"@odata.context", q.root + "$metadata#" + ask.table.set + ask.shape() + "/$entity"}}, o...)
	}
	a := prefer.json(status, o)
	a.set("ETag", etag(r))
	return a
}

func (q *request) noContent() *answer {
	a := &answer{status: http.StatusNoContent}
	a.set("OData-Version", "4.0")
	return a
}
