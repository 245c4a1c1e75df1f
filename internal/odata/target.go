package odata

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// errForeign tells of a request in a batch whose address is neither the proxy's nor the organization's.
var errForeign = errors.New("address belongs to neither the proxy nor the organization")

// target reads the target of a request line in a batch. It gives what the organization is asked for, and what to write in
// the request line.
func (q *batchRequest) target(raw string) (asked, line string, err error) {
	if raw == "" || strings.TrimSpace(raw) != raw || strings.IndexFunc(raw, isControlCharacter) >= 0 {
		return "", "", fmt.Errorf("not an address: %.80q", raw)
	}
	r, m, base := q.r, &q.mapping, ""
	switch {
	case hasScheme(raw):
		f := find(m, raw)
		if f.n < 0 || f.foreign {
			return "", "", foreign(raw, f)
		}
		base, asked = r.Org, raw[f.n:]
	case networkPath(raw):
		return "", "", foreign(raw, nowhere)
	case raw[0] == '/':
		if asked = raw; r.publicPath(raw) > 0 {
			asked = rooted(raw[joinSlashes(raw, r.publicPath(raw)):])
		} else if f := findRooted(m, raw); f.foreign {
			return "", "", foreign(raw, f)
		}
	default:
		asked = raw
	}
	if base == "" && networkPath(asked) {
		return "", "", foreign(raw, nowhere)
	}
	if path, query, ok := strings.Cut(asked, "?"); ok {
		if query, err = r.QueryToOrg(query); err != nil {
			return "", "", err
		}
		asked = path + "?" + query
	}
	if IsBatch(asked) {
		return "", "", errors.New("a batch within a batch")
	}
	line = base + asked
	if base != "" {
		asked = rooted(asked)
	}
	return asked, line, nil
}

// isControlCharacter tells characters that no address holds. .NET leaves those that set the direction of writing out of an
// address, and may so find dots or a name where none were judged.
func isControlCharacter(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf) }

func foreign(raw string, f linkMatch) error {
	if f.foreign {
		return &ForeignLink{raw[:f.n]}
	}
	address, _, _ := strings.Cut(raw, "?")
	return fmt.Errorf("%w: %.200s", errForeign, address)
}

// hasScheme reports whether an address begins with a scheme.
func hasScheme(raw string) bool {
	i := strings.IndexAny(raw, ":/?#(")
	return i > 0 && raw[i] == ':'
}

// networkPath reports whether an address without a scheme begins with a host. Readers that follow browsers take a
// backslash for a slash.
func networkPath(raw string) bool {
	return len(raw) > 0 && raw[0] == '\\' || len(raw) > 1 && raw[0] == '/' && (raw[1] == '/' || raw[1] == '\\')
}

// publicPath gives the length of the path of the proxy's base with which a rooted path begins: the longest.
func (r *Rewriter) publicPath(raw string) int {
	n := pathPrefix(raw, newBase(r.Public).path)
	if r.Tenant != "" {
		n = max(n, pathPrefix(raw, "/"+r.Tenant))
	}
	if r.Site != nil && r.Tenant != "" {
		for _, b := range r.Site.urls {
			n = max(n, pathPrefix(raw, b.path+"/"+r.Tenant))
		}
	}
	for _, alias := range r.PublicAliases {
		n = max(n, pathPrefix(raw, newBase(alias).path))
	}
	return n
}

func pathPrefix(raw, path string) int {
	if !foldAt(raw, 0, path) || len(raw) > len(path) && strings.IndexByte("/?#", raw[len(path)]) < 0 {
		return 0
	}
	return len(path)
}

// rooted gives a path where only a query or nothing is left of it.
func rooted(rest string) string {
	if rest == "" || rest[0] != '/' {
		return "/" + rest
	}
	return rest
}

// IsBatch reports whether a batch is asked for, by a path with or without a query, in whatever spelling some server takes
// for it: encoded separators are separators, and slashes, blanks and dots at the end are nothing.
func IsBatch(asked string) bool {
	path := asked
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	if strings.IndexByte(path, '%') >= 0 {
		path = string(percentDecode(path).text)
	}
	plain := strings.TrimRight(path, "/\\. \t()")
	return strings.EqualFold(plain[strings.LastIndexAny(plain, "/\\")+1:], "$batch")
}

// orgHost is the host, with its port, of the organization.
func (r *Rewriter) orgHost() string {
	_, host, _ := strings.Cut(r.Org, "://")
	host, _, _ = strings.Cut(host, "/")
	return host
}
