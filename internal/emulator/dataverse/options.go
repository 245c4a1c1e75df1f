package dataverse

import (
	"net/url"
	"slices"
	"strings"
)

// options are the query options of one request, decoded, in the order in which
// they came.
type options []argument

// accepted are the options that some request takes. The values of the others
// are not known, so a request that carries one is refused.
var accepted = []string{"$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken", "$deltatoken", "$id",
	"fetchXml", "tag", "partitionId", "partitionid", "annotations", "size", "sessiontoken", "x-ms-file-name"}

// refused are options that OData knows and Dataverse does not carry out, or
// only this emulator does not.
var refused = []string{"$apply", "$skip", "$search", "$compute", "$levels", "$format", "savedQuery", "userQuery"}

// parseOptions reads a query string. It splits at '&' alone: OData nests ';'
// inside $expand.
func parseOptions(query string) (options, error) {
	var opts options
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, badQuery("The query string is malformed: %v", err)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, badQuery("The query string is malformed: %v", err)
		}
		if err := checkOption(opts, name); err != nil {
			return nil, err
		}
		opts = append(opts, argument{name, value})
	}
	return opts, nil
}

func checkOption(before options, name string) error {
	if slices.Contains(refused, name) {
		return notImplemented("The query parameter %s is not supported.", name)
	}
	if !slices.Contains(accepted, name) && !strings.HasPrefix(name, "@") && !bypasses(name) {
		return badQuery("The query parameter %s is not supported.", name)
	}
	if _, twice := before.get(name); twice {
		return badQuery("Query option '%s' was specified more than once, but it must be specified at most once.", name)
	}
	return nil
}

// bypasses reports whether an option asks that plug-ins, flows or callbacks be
// left out. There are none here, so it changes nothing.
func bypasses(name string) bool {
	name = strings.TrimPrefix(strings.ToLower(name), "mscrm.")
	return strings.HasPrefix(name, "bypass") || strings.HasPrefix(name, "suppress")
}

func (o options) get(name string) (string, bool) {
	for _, a := range o {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// only refuses options besides those named here, which the request at hand
// would silently ignore. Parameters, tag and partitionId go with every request.
func (o options) only(names ...string) error {
	for _, a := range o {
		if strings.HasPrefix(a.name, "@") || a.name == "tag" || strings.EqualFold(a.name, "partitionId") || bypasses(a.name) || slices.Contains(names, a.name) {
			continue
		}
		return badQuery("The query option '%s' cannot be applied to the requested resource.", a.name)
	}
	return nil
}

// parameter gives text, or, where it names a parameter (@p), that parameter's
// value.
func (o options) parameter(text string) (string, error) {
	if !strings.HasPrefix(text, "@") {
		return text, nil
	}
	value, ok := o.get(text)
	if !ok {
		return "", badQuery("The parameter alias '%s' is not given a value in the query string.", text)
	}
	return strings.TrimSpace(value), nil
}
