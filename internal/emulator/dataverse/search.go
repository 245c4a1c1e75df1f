package dataverse

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
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

// searchPath names the version and the operation.
var searchPath = regexp.MustCompile(`^(?i:/api/search/(v1\.0|v2\.0)/(query|suggest|autocomplete))$`)

// serveSearch answers query, suggest and autocomplete of both versions: the
// records whose text holds the words that are searched for. Searches that ask
// for more than that are refused.
func (o *Organization) serveSearch(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	m := searchPath.FindStringSubmatch(path)
	if r.Method != http.MethodPost || m == nil {
		WriteError(w, http.StatusNotFound, codeSegment, "Resource not found for the segment '"+path[len("/api/search/"):]+"'.")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSOAP))
	var ask *searchRequest
	var tables []string
	if err == nil {
		ask, tables, err = readSearch(body)
	}
	if err != nil {
		faultOf(err).answer().write(w)
		return
	}
	o.mu.RLock()
	found := o.data.search(strings.Fields(strings.ToLower(ask.Search)), tables)
	o.mu.RUnlock()
	a := &answer{status: http.StatusOK}
	a.set("Content-Type", "application/json")
	a.body = appendJSON(nil, ask.result(strings.ToLower(m[1]), strings.ToLower(m[2]), found))
	a.write(w)
}

// searches are the actions of the Web API that search.
var searches = []string{"searchquery", "searchsuggest", "searchautocomplete"}

// search answers one of them, under the organization's lock.
func (q *request) search(name string, opts options) (*answer, error) {
	if q.method != http.MethodPost {
		return nil, badMethod(q.method)
	}
	if err := opts.only(); err != nil {
		return nil, err
	}
	prefer, err := parsePreferences(q.header)
	if err != nil {
		return nil, err
	}
	ask, tables, err := readSearch(q.body)
	if err != nil {
		return nil, err
	}
	found := q.org.data.search(strings.Fields(strings.ToLower(ask.Search)), tables)
	return prefer.json(http.StatusOK, q.response(name, ask.result("v2.0", strings.TrimPrefix(name, "search"), found))), nil
}

func readSearch(body []byte) (*searchRequest, []string, error) {
	ask := &searchRequest{Top: 50}
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, byteOrderMark)))
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

// result gives the answer in the form of the version and operation that was
// asked.
func (ask *searchRequest) result(version, operation string, found []hit) object {
	count := -1
	if ask.Count {
		count = len(found)
	}
	found = found[min(ask.Skip, len(found)):]
	found = found[:min(ask.Top, len(found))]
	first := version == "v1.0"
	var out object
	switch operation {
	case "suggest":
		out = object{{spelled("value", first), suggestions(found, first)}}
	case "autocomplete":
		text := ask.Search
		if len(found) > 0 {
			text, _ = found[0].row.values[found[0].table.title].(string)
		}
		out = object{{spelled("value", first), text}}
	default:
		out = object{{spelled("value", first), hits(found, first)}, {spelled("facets", first), object{}}, {map[bool]string{true: "totalrecordcount", false: "Count"}[first], count}}
	}
	if first {
		return out
	}
	out = append(object{{"Error", nil}}, append(out, member{"QueryContext", nil})...)
	return object{{"response", string(appendJSON(nil, out))}}
}

// spelled gives a name as the version writes it: the second capitalizes.
func spelled(name string, first bool) string {
	if first {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func hits(found []hit, first bool) list {
	value := list{}
	for _, h := range found {
		title := member{h.table.title, h.row.values[h.table.title]}
		if first {
			value = append(value, object{{"@search.score", 1.0}, {"@search.highlights", object{}}, {"@search.entityname", h.table.name},
				{"@search.objectid", h.row.id}, title})
			continue
		}
		value = append(value, object{{"Id", h.row.id}, {"EntityName", h.table.name}, {"ObjectTypeCode", 0},
			{"Attributes", object{title}}, {"Highlights", object{}}, {"Score", 1.0}})
	}
	return value
}

func suggestions(found []hit, first bool) list {
	value := list{}
	for _, h := range found {
		text := h.row.values[h.table.title]
		value = append(value, object{{spelled("text", first), text}, {spelled("document", first), object{
			{"@search.objectid", h.row.id}, {"@search.entityname", h.table.name}, {h.table.title, text}}}})
	}
	return value
}
