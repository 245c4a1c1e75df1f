package problem

// helpBase is the address of the page that docs/errors.md is on the web. The
// linker sets it for a release: -X dynproxy/internal/problem.helpBase=https://...
// Without one, the portal of each proxy has the entries.
var helpBase string

// Help is the address of the entry of c: what it means and what to do. portal
// is the base of this proxy's portal.
func (c Code) Help(portal string) string {
	if helpBase != "" {
		return helpBase + "#" + string(c)
	}
	return portal + "/help/" + string(c)
}
