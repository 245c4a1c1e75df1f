package dataverse

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// part is one part of a batch: a request, or a change set.
type part struct {
	request   *request
	contentID string
	changes   []part // of a change set, not nil
}

// splitParts splits a multipart body. Lines may end in CRLF or in LF alone; the
// line end before a boundary belongs to the boundary.
func splitParts(body []byte, boundary string) ([][]byte, error) {
	var parts [][]byte
	delimiter := []byte("--" + boundary)
	start := -1
	for at := 0; at < len(body); {
		end := at + bytes.IndexByte(body[at:], '\n') + 1
		if end == at {
			end = len(body)
		}
		rest, found := bytes.CutPrefix(body[at:end], delimiter)
		rest = bytes.TrimRight(rest, " \t\r\n")
		last := string(rest) == "--"
		if found && (last || len(rest) == 0) {
			if start >= 0 {
				parts = append(parts, cutLineEnd(body[start:at]))
			}
			if last {
				return parts, nil
			}
			start = end
		}
		at = end
	}
	return nil, badBatch("its closing boundary '--%s--' is missing", boundary)
}

func cutLineEnd(b []byte) []byte {
	b, _ = bytes.CutSuffix(b, []byte("\n"))
	b, _ = bytes.CutSuffix(b, []byte("\r"))
	return b
}

// readPart reads one part. Change sets do not nest.
func (q *request) readPart(raw []byte, inChangeSet bool) (part, error) {
	header, content, err := readHeader(raw)
	if err != nil {
		return part{}, err
	}
	kind := header.Get("Content-Type")
	if strings.HasPrefix(kind, "multipart/mixed") && !inChangeSet {
		return q.readChangeSet(kind, content)
	}
	if !strings.HasPrefix(kind, "application/http") {
		return part{}, badBatch("the content type '%s' of a part is not application/http", kind)
	}
	inner, err := q.readInner(content)
	if err != nil {
		return part{}, err
	}
	if inChangeSet && inner.reads() {
		return part{}, badBatch("a change set cannot hold %s requests", inner.method)
	}
	id := header.Get("Content-ID")
	if id == "" {
		id = inner.header.Get("Content-ID")
	}
	return part{request: inner, contentID: id}, nil
}

func (q *request) readChangeSet(contentType string, content []byte) (part, error) {
	boundary, err := boundaryOf(contentType)
	if err != nil {
		return part{}, err
	}
	raw, err := splitParts(content, boundary)
	if err != nil {
		return part{}, err
	}
	set := part{changes: []part{}}
	for _, one := range raw {
		p, err := q.readPart(one, true)
		if err != nil {
			return part{}, err
		}
		set.changes = append(set.changes, p)
	}
	if len(set.changes) == 0 {
		return part{}, badBatch("a change set is empty")
	}
	return set, nil
}

// readHeader reads header lines up to an empty line or the end.
func readHeader(raw []byte) (http.Header, []byte, error) {
	header := http.Header{}
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		text := strings.TrimRight(string(line), "\r")
		if text == "" {
			break
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || strings.TrimSpace(name) != name || name == "" {
			return nil, nil, badBatch("the header line '%s' is malformed", text)
		}
		header.Add(textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value))
	}
	return header, raw, nil
}

// readInner reads the HTTP request in a part.
func (q *request) readInner(content []byte) (*request, error) {
	line, rest, _ := bytes.Cut(bytes.TrimLeft(content, "\r\n"), []byte("\n"))
	text := strings.TrimSpace(string(line))
	method, after, _ := strings.Cut(text, " ")
	target, ok := strings.CutSuffix(after, " HTTP/1.1")
	if !ok || target == "" {
		return nil, badBatch("the request line '%s' is malformed", text)
	}
	header, body, err := readHeader(rest)
	if err != nil {
		return nil, err
	}
	inner := &request{org: q.org, method: method, host: q.host, root: q.root, header: header, who: q.who}
	if err := inner.point(strings.TrimSpace(target)); err != nil {
		return nil, err
	}
	if host := header.Get("Host"); host != "" && !strings.EqualFold(host, q.host) {
		return nil, badBatch("the host '%s' of a part is not that of the organization", host)
	}
	for _, name := range []string{"Callerobjectid", "Mscrmcallerid"} {
		if header.Get(name) == "" && q.header.Get(name) != "" {
			header.Set(name, q.header.Get(name))
		}
	}
	inner.body, err = innerBody(header, body)
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

// innerBody gives the body of a part. What Content-Length says must be true;
// only line ends may follow.
func innerBody(header http.Header, body []byte) ([]byte, error) {
	text := header.Get("Content-Length")
	if text == "" {
		return bytes.TrimRight(body, "\r\n"), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > len(body) || len(bytes.Trim(body[n:], "\r\n")) > 0 {
		return nil, badBatch("the Content-Length '%s' of a part is not that of its body, which has %d bytes", text, len(body))
	}
	return body[:n], nil
}
