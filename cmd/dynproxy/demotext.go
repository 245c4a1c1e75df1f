package main

import "strings"

// sight is a line to type and what is to be seen by it.
type sight struct{ what, options, path string }

// tour is what the demo has to show.
var tour = []sight{
	{"Who the app is in contoso. No sign-in, no token: the proxy sees to them.", "-s", "/contoso/api/data/v9.2/WhoAmI"},
	{"Two accounts of many, with a task of each. The link to the next page, @odata.nextLink, leads to the proxy too.",
		"-s -H 'Prefer: odata.maxpagesize=2'", "/contoso/api/data/v9.2/accounts?$select=name&$expand=Account_Tasks($select=subject;$top=1)"},
	{"What a caller gets where consent is missing: a code for scripts, and the link on which the administrator gives it.", "-si", "/fabrikam/api/data/v9.2/WhoAmI"},
	{"Where the application user is missing: Dataverse's own answer, and in Dynproxy-Next what to do about it.", "-si", "/northwind/api/data/v9.2/WhoAmI"},
}

// demoText is what the demo prints when callers and operators can come, at
// these addresses. PowerShell expands $select between double quotes, and curl
// is another command there.
func demoText(callers, operators string, windows bool) string {
	curl, where := "curl ", "Try, in another terminal:"
	if windows {
		curl, where = "curl.exe ", `Try, in another PowerShell (cmd.exe wants " in the place of '):`
	}
	lines := []string{
		"dynproxy demo: an embedded Entra ID and three organizations. Nothing leaves this machine.",
		"",
		"  contoso    ready",
		"  fabrikam   its administrator has not granted the app access yet",
		"  northwind  access granted, but no application user in the organization yet",
		"",
		where,
	}
	for _, s := range tour {
		lines = append(lines, "", "  "+s.what, "    "+curl+s.options+" '"+callers+s.path+"'")
	}
	return strings.Join(append(lines,
		"",
		"Ctrl-C ends the demo. The portal shows every tenant, every call, and the next step; fabrikam's page leads to consent:",
		"",
		"  "+operators+"/",
		"", ""), "\n")
}
