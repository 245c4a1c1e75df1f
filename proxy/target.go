package proxy

import (
	"strings"

	"dynproxy/internal/problem"
)

// A target is what a request line asks for, byte for byte as the caller wrote
// it. net/url would decode and encode again, and OData keys and queries do not
// survive that.
type target struct {
	path  string // begins with '/'
	query string
	asked bool // whether there was a '?', even with nothing behind it
}

// readTarget splits a request target in origin or absolute form.
func readTarget(uri string) (target, *problem.Error) {
	if !strings.HasPrefix(uri, "/") {
		scheme, rest, ok := strings.Cut(uri, "://")
		if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return target{}, problem.New(problem.BadRequest, "The request target must be a path, such as /contoso/api/data/v9.2/accounts.")
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		if strings.ContainsAny(rest[:end], "@\\") {
			return target{}, problem.New(problem.BadRequest, "The request target must not hold a user name.")
		}
		if uri = rest[end:]; !strings.HasPrefix(uri, "/") {
			uri = "/" + uri
		}
	}
	var t target
	t.path, t.query, t.asked = strings.Cut(uri, "?")
	if reason := ambiguous(t.path); reason != "" {
		return target{}, problem.New(problem.BadRequest, "The path holds %s, which servers read differently.", reason)
	}
	return t, nil
}

// ambiguous says what in a raw path an organization's server might read in
// another way than the path policy here, "" if nothing.
func ambiguous(path string) string {
	lower := strings.ToLower(path)
	switch {
	case strings.Contains(lower, "\\"):
		return "a backslash"
	case strings.Contains(lower, "%00"):
		return "an encoded NUL"
	case strings.Contains(lower, "#"):
		return "a fragment"
	case strings.ContainsFunc(lower, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "a control byte" // HTTP/2 has no line to keep it out
	}
	// A tenant's name ends where every server thinks it does.
	if first, _ := firstSegment(lower); masked(first) {
		return "an encoded slash before the OData path"
	}
	if strings.Contains(lower, "%") {
		lower = unmask.Replace(lower)
	}
	for segment := range strings.SplitSeq(lower, "/") {
		if segment == "." || segment == ".." {
			return "a dot segment"
		}
	}
	return ""
}

// unmask decodes what makes a segment or a dot segment, in lower case.
var unmask = strings.NewReplacer("%2e", ".", "%2f", "/", "%5c", "/")

// firstSegment cuts the tenant's name off a raw path: "/contoso/api" gives
// "contoso" and "/api".
func firstSegment(path string) (name, rest string) {
	end := strings.IndexByte(path[1:], '/')
	if end < 0 {
		return path[1:], "/"
	}
	return path[1 : 1+end], path[1+end:]
}

// under reports whether the raw path lies below one of prefixes. Dataverse
// takes paths without regard to case. A prefix without a final slash ends at a
// segment's end.
func under(prefixes []string, path string) bool {
	for _, prefix := range prefixes {
		if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
			continue
		}
		if strings.HasSuffix(prefix, "/") || len(path) == len(prefix) || path[len(prefix)] == '/' {
			return true
		}
	}
	return false
}

// masked reports whether a raw path holds encoded separators, which before the
// OData path may only be there to deceive.
func masked(path string) bool {
	lower := strings.ToLower(path)
	return strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c")
}
