package dataverse

import (
	"net/http"
	"strconv"
	"strings"
)

// maxPage is the longest page, and the page where no size is preferred.
const maxPage = 5000

// preferences are what a request's Prefer headers and Accept header ask for.
type preferences struct {
	pageSize       int      // 0 where no size is preferred
	annotations    []string // patterns; '-' before one takes it out again
	representation bool
	track          bool
	goOn           bool
	metadata       string   // minimal, full or none
	applied        []string // for Preference-Applied
}

func parsePreferences(h http.Header) (*preferences, error) {
	p := &preferences{metadata: "minimal"}
	for _, line := range h.Values("Prefer") {
		for _, item := range splitQuoted(line, ',') {
			if err := p.add(strings.TrimSpace(item)); err != nil {
				return nil, err
			}
		}
	}
	for _, level := range []string{"full", "none"} {
		if strings.Contains(strings.ReplaceAll(h.Get("Accept"), " ", ""), "odata.metadata="+level) {
			p.metadata = level
		}
	}
	return p, nil
}

// splitQuoted splits s at each sep outside double quotes.
func splitQuoted(s string, sep rune) []string {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == sep && !quoted
	})
}

// add takes one preference in. Preferences that mean nothing here are passed
// over, as RFC 7240 asks.
func (p *preferences) add(item string) error {
	name, value, _ := strings.Cut(item, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "odata.maxpagesize":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return badQuery("Invalid value '%s' for the preference odata.maxpagesize.", value)
		}
		p.pageSize = min(n, maxPage)
	case "odata.include-annotations":
		p.annotations = strings.Split(value, ",")
	case "return":
		p.representation = value == "representation"
	case "odata.track-changes":
		p.track = true
	case "odata.continue-on-error":
		p.goOn = value != "false"
	default:
		return nil
	}
	p.applied = append(p.applied, item)
	return nil
}

// wants reports whether an annotation is asked for.
func (p *preferences) wants(annotation string) bool {
	wanted := false
	for _, pattern := range p.annotations {
		pattern, not := strings.CutPrefix(strings.TrimSpace(pattern), "-")
		stem, open := strings.CutSuffix(pattern, "*")
		if pattern == annotation || open && strings.HasPrefix(annotation, stem) {
			wanted = !not
		}
	}
	return wanted
}

// page is the number of rows in a page.
func (p *preferences) page() int {
	if p.pageSize == 0 {
		return maxPage
	}
	return p.pageSize
}

// json makes an answer that holds v.
func (p *preferences) json(status int, v any) *answer {
	a := &answer{status: status}
	a.set("Content-Type", "application/json; odata.metadata="+p.metadata)
	a.set("OData-Version", "4.0")
	if len(p.applied) > 0 {
		a.set("Preference-Applied", strings.Join(p.applied, ", "))
	}
	a.body = appendJSON(nil, v)
	return a
}
