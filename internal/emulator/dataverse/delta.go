package dataverse

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const deltaTime = "01/02/2006 15:04:05"

// deltaLink is where a client asks for what has changed since a row version.
func (q *request) deltaLink(t *table, ask *query, since int64) string {
	at := epoch.Add(time.Duration(since-firstVersion) * time.Second)
	given := make(options, 0, len(ask.given))
	for _, option := range ask.given {
		if option.name != "$deltatoken" {
			given = append(given, option)
		}
	}
	return q.root + t.set + "?" + encodeOptions(given) + "$deltatoken=" + escapeLower(strconv.FormatInt(since, 10)+"!"+at.Format(deltaTime))
}

// readDeltaToken gives the row version in a token of this organization.
func (q *request) readDeltaToken(token string) (int64, error) {
	version, at, ok := strings.Cut(token, "!")
	since, err := strconv.ParseInt(version, 10, 64)
	if !ok || err != nil || since < firstVersion || since > q.org.data.version ||
		epoch.Add(time.Duration(since-firstVersion)*time.Second).Format(deltaTime) != at {
		return 0, badQuery("The delta token '%s' is not valid.", token)
	}
	return since, nil
}

// changes answers with the records that were written since a delta token, and
// names those that were deleted.
func (q *request) changes(at *target, token string, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only("$select", "$deltatoken"); err != nil {
		return nil, err
	}
	if at.parent != nil {
		return nil, badQuery("Change tracking is supported only for a table.")
	}
	since, err := q.readDeltaToken(token)
	if err != nil {
		return nil, err
	}
	ask, err := q.parseQuery(at.table, opts, opts)
	if err != nil {
		return nil, err
	}
	v, held := q.view(prefer), q.org.data.rows[at.table.name]
	value := list{}
	for _, r := range q.org.data.all(at.table) {
		if r.version > since {
			value = append(value, v.row(ask, r))
		}
	}
	for _, gone := range held.gone {
		if gone.version > since && held.byID[gone.row.id] == nil {
			value = append(value, object{{"@odata.context", q.root + "$metadata#" + at.table.set + "/$deletedEntity"}, {"id", gone.row.id}, {"reason", "deleted"}})
		}
	}
	return prefer.json(http.StatusOK, object{
		{"@odata.context", q.root + "$metadata#" + at.table.set + ask.shape() + "/$delta"},
		{"@odata.deltaLink", q.deltaLink(at.table, ask, q.org.data.version)},
		{"value", value},
	}), nil
}
