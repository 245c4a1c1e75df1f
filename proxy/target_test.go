package proxy

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"dynproxy/internal/problem"
)

// FuzzTarget holds that what a caller asks for stays within the tenant that
// the path names, however an organization's server may read it, and that
// nothing of it changes.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"/contoso/api/data/v9.2/accounts?$select=name", "http://proxy:8080/contoso/api/data/v9.2/accounts", "/contoso", "/",
		"/contoso/api/data/../../fabrikam/api/data", "/contoso/%2e%2e/fabrikam", "/contoso/..%2ffabrikam", "/contoso%2f..%2ffabrikam/api",
		"/contoso/api/data/v9.2/accounts(name='a%2Fb')?$filter=a%20eq%20'../..'", "/contoso\\..\\fabrikam", "//contoso/api", "/a%00b/", "/%252e%252e/x",
		"http://a@b/contoso", "http:///x", "?x", "/contoso/api/data/v9.2/$batch?", "https://proxy/contoso/..?x#y", "http://0??",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got, refused := readTarget(uri)
		if refused != nil {
			if refused.Code != problem.BadRequest || refused.Message == "" {
				t.Fatalf("%q is refused with %v", uri, refused)
			}
			return
		}
		whole := got.path
		if got.asked {
			whole += "?" + got.query
		}
		// An address without a path means its root.
		if !strings.HasSuffix(uri, whole) && !(got.path == "/" && strings.HasSuffix(uri, whole[1:])) {
			t.Fatalf("%q was changed to %q", uri, whole)
		}
		if !strings.HasPrefix(got.path, "/") {
			t.Fatalf("%q has the path %q", uri, got.path)
		}
		name, rest := firstSegment(got.path)
		if !strings.HasPrefix(rest, "/") || strings.ContainsAny(name, `/\`) || rest != "/" && got.path != "/"+name+rest {
			t.Fatalf("%q is cut into %q and %q", uri, name, rest)
		}
		// An organization's server may decode and clean the path, and take a
		// backslash for a slash: below its root it stays below its root, and
		// the tenant's name stays one name.
		if decoded, err := url.PathUnescape(name); err == nil && strings.ContainsAny(decoded, "/\\\x00") {
			t.Fatalf("%q names the tenant %q", uri, decoded)
		}
		decoded, err := url.PathUnescape(rest)
		if err != nil {
			return // the connection's guard has refused it
		}
		decoded = strings.ReplaceAll(decoded, `\`, "/")
		if cleaned := path.Clean("/root" + decoded); cleaned != "/root" && !strings.HasPrefix(cleaned, "/root/") {
			t.Fatalf("%q climbs to %q", uri, cleaned)
		}
		for segment := range strings.SplitSeq(decoded, "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q holds a dot segment once it is decoded: %q", uri, decoded)
			}
		}
	})
}
