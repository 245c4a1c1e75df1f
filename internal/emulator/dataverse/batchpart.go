package dataverse

import (
	"strconv"
	"strings"
)

// part is one part of a batch: a request, or a change set.
type part struct {
	request   *request
	contentID string
	changes   []part // of a change set, not nil
}

// readParts reads all parts of a batch.
func (q *request) readParts(b *batchReader) ([]part, error) {
	var parts []part
	for {
		found, ok, err := b.skipToDelimiter()
		if err != nil || !ok || found.closing {
			return parts, err
		}
		p, err := q.readPart(b)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
}

// readPart reads the part behind a delimiter. Change sets do not nest.
func (q *request) readPart(b *batchReader) (part, error) {
	header, err := b.headers()
	if err != nil {
		return part{}, err
	}
	inChangeSet := len(b.boundaries) > 1
	kind, _ := header.get("Content-Type")
	media, _, _ := strings.Cut(strings.ToLower(kind), ";")
	switch strings.TrimSpace(media) {
	case "application/http":
	case "multipart/mixed":
		if !inChangeSet {
			return q.readChangeSet(kind, b)
		}
		fallthrough
	default:
		return part{}, badBatch("the content type '%s' of a part is not application/http", kind)
	}
	inner, err := q.readInner(b)
	if err != nil {
		return part{}, err
	}
	if inChangeSet && inner.reads() {
		return part{}, badBatch("a change set cannot hold %s requests", inner.method)
	}
	id, ok := header.get("Content-ID")
	if !ok {
		id = inner.header.Get("Content-ID")
	}
	return part{request: inner, contentID: id}, nil
}

// readChangeSet reads the parts of a change set. It ends at its closing
// delimiter, at any delimiter of the batch, or with the batch.
func (q *request) readChangeSet(contentType string, b *batchReader) (part, error) {
	boundary, err := boundaryOf(contentType)
	if err != nil {
		return part{}, err
	}
	outer := b.boundaries
	b.boundaries = append([]string{boundary}, outer...)
	defer func() { b.boundaries = outer }()
	set := part{changes: []part{}}
	for {
		found, ok, err := b.skipToDelimiter()
		if err != nil || !ok || found.closing || found.parent {
			return set, err
		}
		p, err := q.readPart(b)
		if err != nil {
			return part{}, err
		}
		set.changes = append(set.changes, p)
	}
}

// readInner reads the HTTP request in a part.
func (q *request) readInner(b *batchReader) (*request, error) {
	method, target, err := b.requestLine()
	if err != nil {
		return nil, err
	}
	header, err := b.headers()
	if err != nil {
		return nil, err
	}
	inner := &request{org: q.org, host: q.host, root: q.root, header: header.canonical(), who: q.who}
	inner.method = methodOf(method, inner.header)
	if err := inner.point(target); err != nil {
		return nil, err
	}
	if host := inner.header.Get("Host"); host != "" && !strings.EqualFold(host, q.host) {
		return nil, badBatch("the host '%s' of a part is not that of the organization", host)
	}
	for _, name := range []string{"Callerobjectid", "Mscrmcallerid"} {
		if inner.header.Get(name) == "" && q.header.Get(name) != "" {
			inner.header.Set(name, q.header.Get(name))
		}
	}
	length, given := header.get("Content-Length")
	if !given {
		inner.body, err = b.body()
		return inner, err
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return nil, badBatch("the Content-Length '%s' of a part is no number", length)
	}
	inner.body, err = b.bodyOf(n)
	return inner, err
}

// point resolves the target of an inner request: absolute, rooted, relative to
// the service root, or relative to an earlier part ($1/...).
func (q *request) point(target string) error {
	path, query, _ := strings.Cut(target, "?")
	q.query = query
	base, rooted := "https://"+q.host, strings.HasPrefix(path, "/")
	switch {
	case strings.HasPrefix(path, base+"/"):
		path, rooted = strings.TrimPrefix(path, base), true
	case strings.Contains(strings.SplitN(path, "(", 2)[0], "://"):
		return badBatch("the address '%s' is not one of the organization", target)
	}
	q.path = path
	if rooted {
		if err := q.locate(path); err != nil {
			return err
		}
	}
	if q.path == "$batch" {
		return badBatch("a batch cannot hold another batch")
	}
	return nil
}
