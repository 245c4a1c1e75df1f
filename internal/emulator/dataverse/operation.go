package dataverse

import (
	"net/http"
	"slices"
	"strings"
)

// version is the product version that organizations report.
const version = "9.2.25104.00182"

// unbound are the functions that stand at the service root.
var unbound = []string{"WhoAmI", "RetrieveVersion", "RetrieveCurrentOrganization", "RetrieveTotalRecordCount"}

// unboundOperation reports whether a path calls a function at the root.
func unboundOperation(segments []segment) (name, args string, ok bool) {
	name = strings.TrimPrefix(segments[0].name, "Microsoft.Dynamics.CRM.")
	return name, segments[0].args, len(segments) == 1 && (slices.Contains(unbound, name) || slices.Contains(searches, name))
}

// operation carries out a function or action at the root.
func (q *request) operation(name, args string, opts options) (*answer, error) {
	if slices.Contains(searches, name) {
		return q.search(name, opts)
	}
	if !q.reads() {
		return nil, badMethod(q.method)
	}
	if err := opts.only(); err != nil {
		return nil, err
	}
	prefer, err := parsePreferences(q.header)
	if err != nil {
		return nil, err
	}
	given, err := operationArguments(args, opts)
	if err != nil {
		return nil, err
	}
	var out object
	switch name {
	case "WhoAmI":
		out = q.whoAmI()
	case "RetrieveVersion":
		out = object{{"Version", version}}
	case "RetrieveCurrentOrganization":
		out, err = q.currentOrganization(given)
	case "RetrieveTotalRecordCount":
		out, err = q.totalRecordCount(given)
	}
	if err != nil {
		return nil, err
	}
	return prefer.json(http.StatusOK, q.response(name, out)), nil
}

// response puts the context before a function's result.
func (q *request) response(name string, out object) object {
	return append(object{{"@odata.context", q.root + "$metadata#Microsoft.Dynamics.CRM." + name + "Response"}}, out...)
}

// operationArguments reads a function's arguments, parameters replaced by
// their values.
func operationArguments(text string, opts options) (map[string]string, error) {
	args, err := parseArguments(text)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, a := range args {
		if out[a.name], err = opts.parameter(a.value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (q *request) whoAmI() object {
	unit := ""
	users := q.org.data.schema.table("systemuser")
	if ref, ok := q.org.data.find(users, q.by.user).values["businessunitid"].(reference); ok {
		unit = ref.id
	}
	return object{{"BusinessUnitId", unit}, {"UserId", q.by.user}, {"OrganizationId", q.org.id}}
}

// currentOrganization describes the organization, with the addresses of its
// own endpoints as the caller reached it.
func (q *request) currentOrganization(args map[string]string) (object, error) {
	switch args["AccessType"] {
	case "Microsoft.Dynamics.CRM.EndpointAccessType'Default'", "Microsoft.Dynamics.CRM.EndpointAccessType'Internet'":
	default:
		return nil, badQuery("The parameter 'AccessType' of RetrieveCurrentOrganization is missing or not an EndpointAccessType.")
	}
	base := "https://" + q.host + "/"
	return object{{"Detail", object{
		{"OrganizationId", q.org.id}, {"FriendlyName", q.org.name}, {"OrganizationVersion", version},
		{"EnvironmentId", q.org.data.guid("environment")}, {"DatacenterId", q.org.data.guid("datacenter")}, {"Geo", "NA"},
		{"TenantId", q.org.tenantID}, {"UrlName", q.org.name}, {"UniqueName", q.org.name}, {"State", "Enabled"},
		{"Endpoints", object{
			{"Count", 3}, {"IsReadOnly", false},
			{"Keys", list{"WebApplication", "OrganizationService", "OrganizationDataService"}},
			{"Values", list{base, base + "XRMServices/2011/Organization.svc", base + "XRMServices/2011/OrganizationData.svc"}},
		}},
	}}}, nil
}

// totalRecordCount counts the records of the tables in EntityNames=['a','b'].
func (q *request) totalRecordCount(args map[string]string) (object, error) {
	inner, ok := strings.CutPrefix(args["EntityNames"], "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return nil, badQuery("The parameter 'EntityNames' of RetrieveTotalRecordCount is missing or not a list.")
	}
	keys, values := list{}, list{}
	for _, item := range splitOutside(inner, ',') {
		name, _ := unquote(strings.ReplaceAll(strings.TrimSpace(item), `"`, "'"))
		t := q.org.data.schema.table(name)
		if t == nil {
			return nil, badQuery("The entity with a name = '%s' was not found.", name)
		}
		keys, values = append(keys, name), append(values, len(q.org.data.rows[name].order))
	}
	return object{{"EntityRecordCountCollection", object{
		{"Count", len(keys)}, {"IsReadOnly", false}, {"Keys", keys}, {"Values", values},
	}}}, nil
}

// boundOperation carries out a function or action of a record or table.
func (q *request) boundOperation(at *target, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only(); err != nil {
		return nil, err
	}
	onSet := !at.oneMeant && at.parent == nil
	switch {
	case at.action == "CreateMultiple" && onSet && q.method == http.MethodPost:
		return q.createMultiple(at.table, prefer)
	case at.action == "UpdateMultiple" && onSet && q.method == http.MethodPost:
		return q.updateMultiple(at.table)
	case at.action == "UpsertMultiple" && onSet && q.method == http.MethodPost:
		return q.upsertMultiple(at.table)
	case at.action == "RetrievePrincipalAccess" && at.id != "" && at.table.name == "systemuser" && q.reads():
		return q.principalAccess(at, opts, prefer)
	}
	return nil, noSegment("Microsoft.Dynamics.CRM." + at.action)
}

// principalAccess says what a user may do with the record in Target, which is
// everything with a role and nothing without.
func (q *request) principalAccess(at *target, opts options, prefer *preferences) (*answer, error) {
	args, err := operationArguments(at.args, opts)
	if err != nil {
		return nil, err
	}
	if _, err := q.parseEntityArgument(args["Target"]); err != nil {
		return nil, err
	}
	rights := "None"
	if q.org.data.privileged(at.id) {
		rights = "ReadAccess, WriteAccess, AppendAccess, AppendToAccess, CreateAccess, DeleteAccess, ShareAccess, AssignAccess"
	}
	return prefer.json(http.StatusOK, q.response("RetrievePrincipalAccess", object{{"AccessRights", rights}})), nil
}

// parseEntityArgument reads {'@odata.id':'accounts(...)'}, in single or double
// quotes.
func (q *request) parseEntityArgument(text string) (reference, error) {
	bad := badQuery("The value '%s' is not an entity reference: give {'@odata.id':'...'}.", text)
	inner, opened := strings.CutPrefix(strings.TrimSpace(text), "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !opened || !closed {
		return reference{}, bad
	}
	inner = strings.TrimSpace(inner)
	rest, ok := strings.CutPrefix(strings.ReplaceAll(inner, `"`, "'"), "'@odata.id'")
	if !ok {
		return reference{}, bad
	}
	link, ok := unquote(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ":")))
	if !ok {
		return reference{}, bad
	}
	for _, t := range q.org.data.schema.tables {
		if set, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(link, q.root), "/"), "("); set == t.set {
			return q.parseLink(link, t.name)
		}
	}
	return q.parseLink(link, "")
}
