package dataverse

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// searched are the tables that relevance search looks through.
var searched = []string{"account", "contact", "opportunity"}

// searchRequest is what is asked of relevance search. Version 2 gives the
// tables as text that holds JSON.
type searchRequest struct {
	Search   string          `json:"search"`
	Entities json.RawMessage `json:"entities"`
	Count    bool            `json:"count"`
	Top      int             `json:"top"`
	Skip     int             `json:"skip"`
}

// serveSearch answers /api/search/v1.0/query and /api/search/v2.0/query: the
// records whose text holds the words that are searched for. Searches that ask
// for more than that are refused.
func (o *Organization) serveSearch(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if r.Method != http.MethodPost || path != "/api/search/v1.0/query" && path != "/api/search/v2.0/query" {
		WriteError(w, http.StatusNotFound, codeSegment, "Resource not found for the segment '"+strings.TrimPrefix(path, "/api/search/")+"'.")
		return
	}
	ask, tables, err := readSearch(http.MaxBytesReader(w, r.Body, maxSOAP))
	if err != nil {
		faultOf(err).answer().write(w)
		return
	}
	o.mu.RLock()
	found := o.data.search(strings.Fields(strings.ToLower(ask.Search)), tables)
	o.mu.RUnlock()
	total := len(found)
	found = found[min(ask.Skip, total):]
	found = found[:min(ask.Top, len(found))]
	a := &answer{status: http.StatusOK}
	a.set("Content-Type", "application/json")
	a.body = appendJSON(nil, ask.result(path, found, total))
	a.write(w)
}

func readSearch(body io.Reader) (*searchRequest, []string, error) {
	ask := &searchRequest{Top: 50}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(ask); err != nil {
		return nil, nil, faultf(http.StatusBadRequest, codeArgument, "The search request could not be understood: %v", err)
	}
	if strings.TrimSpace(ask.Search) == "" || ask.Top < 1 || ask.Top > 100 || ask.Skip < 0 {
		return nil, nil, faultf(http.StatusBadRequest, codeArgument, "A search needs text in 'search' and between 1 and 100 in 'top'.")
	}
	if strings.ContainsAny(ask.Search, `"*+|-()~`) {
		return nil, nil, faultf(http.StatusNotImplemented, codeArgument, "Search operators are not supported.")
	}
	tables, err := searchTables(ask.Entities)
	return ask, tables, err
}

// searchTables reads ["account"] or [{"name":"account"}], bare or as text.
func searchTables(raw json.RawMessage) ([]string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	if len(raw) == 0 || string(raw) == "null" {
		return searched, nil
	}
	var names []string
	if json.Unmarshal(raw, &names) != nil {
		var named []struct{ Name string }
		if err := json.Unmarshal(raw, &named); err != nil {
			return nil, faultf(http.StatusBadRequest, codeArgument, "The value of 'entities' could not be understood.")
		}
		names = nil // what could be read of the wrong form
		for _, n := range named {
			names = append(names, n.Name)
		}
	}
	for _, name := range names {
		if !slices.Contains(searched, name) {
			return nil, faultf(http.StatusBadRequest, codeArgument, "The table '%s' is not searched.", name)
		}
	}
	return names, nil
}

// hit is one record that was found.
type hit struct {
	table *table
	row   *row
}

// search finds the rows in which each word stands in some text column.
func (d *store) search(words []string, tables []string) []hit {
	var found []hit
	for _, name := range tables {
		t := d.schema.table(name)
		for _, r := range d.all(t) {
			if holdsWords(t, r, words) {
				found = append(found, hit{t, r})
			}
		}
	}
	return found
}

func holdsWords(t *table, r *row, words []string) bool {
	var all strings.Builder
	for _, c := range t.columns {
		if s, ok := r.values[c.name].(string); ok && c.kind == kindText {
			all.WriteString(strings.ToLower(s) + "\n")
		}
	}
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(all.String(), word) })
}

// result gives the answer in the form of the version that was asked.
func (ask *searchRequest) result(path string, found []hit, total int) object {
	value := list{}
	count := -1
	if ask.Count {
		count = total
	}
	if strings.Contains(path, "/v1.0/") {
		for _, h := range found {
			value = append(value, object{{"@search.score", 1.0}, {"@search.highlights", object{}}, {"@search.entityname", h.table.name},
				{"@search.objectid", h.row.id}, {h.table.title, h.row.values[h.table.title]}})
		}
		return object{{"value", value}, {"facets", object{}}, {"totalrecordcount", count}}
	}
	for _, h := range found {
		value = append(value, object{{"Id", h.row.id}, {"EntityName", h.table.name}, {"ObjectTypeCode", 0},
			{"Attributes", object{{h.table.title, h.row.values[h.table.title]}}}, {"Highlights", object{}}, {"Score", 1.0}})
	}
	inner := appendJSON(nil, object{{"Error", nil}, {"Value", value}, {"Facets", object{}}, {"QueryContext", nil}, {"Count", count}})
	return object{{"response", string(inner)}}
}
