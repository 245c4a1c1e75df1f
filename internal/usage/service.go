package usage

import (
	"fmt"
	"strings"
)

// Service is one of the interfaces of Dataverse.
type Service string

// The services.
const (
	webAPI    Service = "webapi"    // OData v4
	search    Service = "search"    // its own endpoint; the Web API has it too
	soap2011  Service = "soap2011"  // the Organization Service
	oData2011 Service = "odata2011" // the Organization Data Service, OData v2
	other     Service = "other"
)

// otherVersion stands for what is no version of a service: whoever makes
// versions up makes no rows.
const otherVersion = "other"

// versions are what a path may name, so that none is made for each call.
var versions = func() (known [10][10]string) {
	for major := range known {
		for minor := range known[major] {
			known[major][minor] = fmt.Sprintf("v%d.%d", major, minor)
		}
	}
	return known
}()

// serviceOf says which service a path at an organization asks for, and which
// version of it; "" where it has none.
func serviceOf(path string) (Service, string) {
	for _, s := range [...]struct {
		prefix  string
		service Service
		least   byte // major versions that there are
		most    byte
	}{
		{"/api/data/", webAPI, '8', '9'}, {"/api/search/", search, '1', '2'},
	} {
		if rest, is := cutPrefix(path, s.prefix); is {
			return s.service, versionIn(rest, s.least, s.most)
		}
	}
	switch rest, is := cutPrefix(path, "/xrmservices/2011/"); {
	case !is:
	case hasSegment(rest, "organization.svc"):
		return soap2011, ""
	case hasSegment(rest, "organizationdata.svc"):
		return oData2011, ""
	}
	return other, ""
}

// cutPrefix is strings.CutPrefix without regard to case, as Dataverse reads
// paths.
func cutPrefix(path, prefix string) (string, bool) {
	if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
		return "", false
	}
	return path[len(prefix):], true
}

// hasSegment reports whether path begins with the whole segment name.
func hasSegment(path, name string) bool {
	rest, is := cutPrefix(path, name)
	return is && (rest == "" || rest[0] == '/' || rest[0] == '(')
}

// versionIn reads the version with which a path goes on, such as v9.2/accounts.
func versionIn(path string, least, most byte) string {
	digit := func(b byte) bool { return '0' <= b && b <= '9' }
	if len(path) < 4 || path[0]|0x20 != 'v' || path[1] < least || path[1] > most || path[2] != '.' || !digit(path[3]) || len(path) > 4 && path[4] != '/' {
		return otherVersion
	}
	return versions[path[1]-'0'][path[3]-'0']
}

// retired says whether Microsoft has withdrawn a service or a version, or is
// about to, and what to use in its place; next may stand alone.
//
// Sources: "Do not use the OData v2.0 endpoint" (deprecated since v8.0; removal
// announced for 2022-11-11, then 2023-04-30, then without a date), "Compose HTTP
// requests and handle errors" (v9.0 is the first whose behaviour is kept), and
// "Search for Dataverse records" (search 2.0).
func retired(s Service, version string) (withdrawn bool, next string) {
	switch {
	case s == oData2011:
		return true, "OData v2 is deprecated, and Microsoft has announced its removal without a final date: move to the Web API, /api/data/v9.2/."
	case s == webAPI && strings.HasPrefix(version, "v8."):
		return true, "Versions below v9.0 are those of Dynamics 365 before 2018: move to /api/data/v9.2/, and test what has changed."
	case s == search && version == "v1.0":
		return false, "Search 1.0 is the older form: move to /api/search/v2.0/."
	}
	return false, ""
}
