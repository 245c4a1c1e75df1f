package odata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// Part is a request inside a batch.
type Part struct {
	Method string
	// Target is path and query as written: from the root of the organization
	// ("/api/data/v9.2/accounts"), whatever base stood before it; or relative
	// to the batch's own address, or to another part ("$1/...").
	Target string
	Header textproto.MIMEHeader
}

const (
	maxPart    = 32 << 20 // bytes of one part
	maxHeaders = 64 << 10 // bytes of the headers of one part
)

var errPartTooLarge = errors.New("a part of the batch is too large")

// BatchRequest copies the batch src to dst, with every link led to the
// organization: in request lines, in Host headers and in JSON bodies. Lengths
// are made right; all else, line ends and boundaries too, stays as it is.
// Authorization inside parts is dropped.
//
// Every part is handed to judge, which may delete headers from it, or refuse:
// then its error is returned. Any other error says in plain words what is wrong
// with the batch. It holds no more than one part in memory.
func (r *Rewriter) BatchRequest(dst io.Writer, src io.Reader, boundary string, judge func(*Part) error) error {
	b := &batchRequest{r: r, in: newLines(src), out: dst, judge: judge, boundaries: []string{boundary}}
	if err := b.preamble(); err != nil {
		return err
	}
	for len(b.boundaries) > 0 {
		if err := b.part(); err != nil {
			return err
		}
	}
	return b.copyRest()
}

type batchRequest struct {
	r          *Rewriter
	in         *lines
	out        io.Writer
	judge      func(*Part) error
	boundaries []string // of the batch, and of the change set that is read
	parts      int
}

var errNoEnd = errors.New("it ends before its last boundary")

func (b *batchRequest) boundary() string { return b.boundaries[len(b.boundaries)-1] }

// preamble copies everything up to and with the first delimiter.
func (b *batchRequest) preamble() error {
	for {
		line, first, err := b.in.next()
		if err != nil {
			return endOr(err)
		}
		if _, err := b.out.Write(line); err != nil {
			return err
		}
		if is, last := delimiter(line, b.boundary()); first && is {
			return b.delimited(last)
		}
	}
}

// delimited notes that a delimiter was read. After the last one of a change
// set, what follows is the batch's again.
func (b *batchRequest) delimited(last bool) error {
	if !last {
		return nil
	}
	b.boundaries = b.boundaries[:len(b.boundaries)-1]
	if len(b.boundaries) > 0 {
		return b.preamble()
	}
	return nil
}

func (b *batchRequest) copyRest() error {
	for {
		line, _, err := b.in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := b.out.Write(line); err != nil {
			return err
		}
	}
}

// part reads one part, from behind a delimiter to the next one.
func (b *batchRequest) part() error {
	wrapper, err := b.headers()
	if err != nil {
		return err
	}
	contentType := wrapper.get("Content-Type")
	if inner := boundaryOf(contentType); inner != "" {
		if len(b.boundaries) > 1 {
			return errors.New("a change set holds another multipart")
		}
		if inner == b.boundary() {
			return errors.New("a change set has the boundary of its batch")
		}
		if _, err := b.out.Write(wrapper.text()); err != nil {
			return err
		}
		b.boundaries = append(b.boundaries, inner)
		return b.preamble()
	}
	if kind, _, _ := strings.Cut(contentType, ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/http") {
		return fmt.Errorf("a part has the Content-Type %.60q in place of application/http", contentType)
	}
	return b.request(wrapper)
}

// request reads the request in a part, rewrites it, and writes both.
func (b *batchRequest) request(wrapper *fields) error {
	first, err := b.requestLine()
	if err != nil {
		return err
	}
	head, err := b.headers()
	if err != nil {
		return err
	}
	body, end, err := b.body()
	if err != nil {
		return err
	}
	p := &Part{Method: first.method, Header: head.header()}
	first.target, p.Target, err = b.r.partTarget(first.target)
	if err != nil {
		return err
	}
	delete(p.Header, "Authorization")
	if err := b.judge(p); err != nil {
		return err
	}
	b.parts++
	rewritten, err := b.r.partBody(body, head)
	if err != nil {
		return err
	}
	inner := new(bytes.Buffer)
	inner.WriteString(first.String())
	inner.Write(head.keep(p.Header, map[string]string{
		"Host":           hostOf(b.r.Org),
		"Content-Length": strconv.Itoa(rewritten.length),
	}))
	inner.Write(rewritten.text)
	out := wrapper.keep(wrapper.header(), map[string]string{"Content-Length": strconv.Itoa(inner.Len())})
	for _, piece := range [][]byte{out, inner.Bytes(), end.text} {
		if _, err := b.out.Write(piece); err != nil {
			return err
		}
	}
	return b.delimited(end.last)
}

// requestLine is "GET /path HTTP/1.1" with the blank lines in front of it.
type requestLine struct {
	blank          string
	method, target string
	rest           string // from the space behind the target on
}

func (l requestLine) String() string { return l.blank + l.method + " " + l.target + l.rest }

func (b *batchRequest) requestLine() (requestLine, error) {
	var l requestLine
	for {
		line, first, err := b.in.next()
		if err != nil {
			return l, endOr(err)
		}
		if !first || lineEnd(line) == "" {
			return l, errors.New("a request line is too long")
		}
		if isBlank(line) && len(l.blank) < 64 {
			l.blank += string(line)
			continue
		}
		text := string(line)
		method, rest, ok := strings.Cut(text, " ")
		end := strings.LastIndex(rest, " HTTP/1.")
		if !ok || end < 1 || method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || strings.ContainsAny(rest[:end], "\t\r\n\x00") {
			return l, errors.New("a part does not begin with a request line such as GET /api/data/v9.2/accounts HTTP/1.1")
		}
		l.method, l.target, l.rest = method, rest[:end], rest[end:]
		if v := strings.TrimRight(l.rest, "\r\n"); v != " HTTP/1.1" && v != " HTTP/1.0" {
			return l, errors.New("a request line ends in no HTTP version")
		}
		return l, nil
	}
}

// partTarget returns a part's target as the organization must see it, and as
// it is to be judged.
func (r *Rewriter) partTarget(target string) (out, judged string, err error) {
	path, query, asked := strings.Cut(target, "?")
	if asked {
		query = "?" + r.QueryToOrg(query)
	}
	if _, absolute := afterScheme(path); absolute {
		n := r.anyBase(path)
		if n == 0 {
			return "", "", errors.New("a part is for another address than this organization's")
		}
		rest := path[n:]
		if rest == "" {
			rest = "/"
		}
		return r.Org + rest + query, rest + query, nil
	}
	if strings.Contains(path, "://") || strings.HasPrefix(path, "//") {
		return "", "", errors.New("a part is for another address than this organization's")
	}
	if strings.HasPrefix(path, "/") {
		path = r.withoutPrefix(path)
	}
	return path + query, path + query, nil
}

// withoutPrefix takes the path of the base under which the caller knows the
// organization off a path from the root.
func (r *Rewriter) withoutPrefix(path string) string {
	longest := 0
	for _, base := range append([]string{r.Public}, r.PublicAliases...) {
		prefix := pathOf(base)
		if rest, ok := cutFold(path, prefix); ok && prefix != "" && strings.HasPrefix(rest, "/") {
			longest = max(longest, len(prefix))
		}
	}
	return path[longest:]
}

// partText is a part's body, and the length that its header is to tell.
type partText struct {
	text   []byte
	length int
}

// partBody rewrites a body. What stands behind its told length must be white
// space, and is kept.
func (r *Rewriter) partBody(body []byte, head *fields) (partText, error) {
	tail := []byte(nil)
	if told := head.get("Content-Length"); told != "" {
		n, err := strconv.Atoi(told)
		if err != nil || n < 0 || n > len(body) || len(bytes.TrimSpace(body[n:])) > 0 {
			return partText{}, errors.New("the Content-Length of a part is not the length of its body")
		}
		body, tail = body[:n], body[n:]
	}
	contentType := head.get("Content-Type")
	trimmed := bytes.TrimSpace(body)
	if isJSON(contentType) || contentType == "" && len(trimmed) > 0 && trimmed[0] == '{' {
		t := r.toOrgTokens()
		body = t.finish(t.push(nil, body))
	}
	return partText{text: append(body, tail...), length: len(body)}, nil
}

// ending is the line end and the delimiter behind a part.
type ending struct {
	text []byte
	last bool
}

// body reads up to the next delimiter. The line end in front of a delimiter
// belongs to it.
func (b *batchRequest) body() ([]byte, ending, error) {
	var body []byte
	for {
		line, first, err := b.in.next()
		if err != nil {
			return nil, ending{}, endOr(err)
		}
		if first {
			if is, last := delimiter(line, b.boundary()); is {
				cut := len(body) - len(lineEnd(body))
				return body[:cut:cut], ending{append(bytes.Clone(body[cut:]), line...), last}, nil
			}
			if b.outer(line) {
				return nil, ending{}, errors.New("a change set ends before its last boundary")
			}
		}
		if len(body)+len(line) > maxPart {
			return nil, ending{}, errPartTooLarge
		}
		body = append(body, line...)
	}
}

// outer reports whether a line inside a change set delimits the batch.
func (b *batchRequest) outer(line []byte) bool {
	if len(b.boundaries) < 2 {
		return false
	}
	is, _ := delimiter(line, b.boundaries[0])
	return is
}

// fields are header lines as they stand, the blank one with them.
type fields struct {
	lines []string
	end   string
}

func (b *batchRequest) headers() (*fields, error) {
	f := &fields{}
	size := 0
	for {
		line, first, err := b.in.next()
		if err != nil {
			return nil, endOr(err)
		}
		if size += len(line); size > maxHeaders || !first {
			return nil, errors.New("the headers of a part are too long")
		}
		if isBlank(line) {
			f.end = string(line)
			return f, nil
		}
		name, _, ok := field(line)
		if !ok || bytes.ContainsAny(line[:len(line)-len(lineEnd(line))], "\r\x00") {
			return nil, errors.New("a part has a header line that is none")
		}
		if name == "Content-Length" && f.get(name) != "" {
			return nil, errors.New("a part has two lengths")
		}
		if name == "Transfer-Encoding" {
			return nil, errors.New("a part has a transfer coding")
		}
		f.lines = append(f.lines, string(line))
	}
}

func (f *fields) header() textproto.MIMEHeader {
	h := make(textproto.MIMEHeader)
	for _, line := range f.lines {
		name, value, _ := field([]byte(line))
		h.Add(name, value)
	}
	return h
}

func (f *fields) get(name string) string {
	for _, line := range f.lines {
		if n, value, _ := field([]byte(line)); n == name {
			return value
		}
	}
	return ""
}

func (f *fields) text() []byte { return []byte(strings.Join(f.lines, "") + f.end) }

// keep writes the lines whose names are in kept, with those values that are
// given in place of their own.
func (f *fields) keep(kept textproto.MIMEHeader, values map[string]string) []byte {
	var b bytes.Buffer
	for _, line := range f.lines {
		name, old, _ := field([]byte(line))
		if _, ok := kept[name]; !ok {
			continue
		}
		if value, ok := values[name]; ok && value != old {
			written, _, _ := strings.Cut(line, ":")
			line = written + ": " + value + lineEnd([]byte(line))
		}
		b.WriteString(line)
	}
	b.WriteString(f.end)
	return b.Bytes()
}

func endOr(err error) error {
	if err == io.EOF {
		return errNoEnd
	}
	return err
}
