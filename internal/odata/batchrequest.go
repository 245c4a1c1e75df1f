package odata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
)

// Part is a request within a batch, as it is to be judged.
type Part struct {
	Method string
	// Target is what is asked for: path and query as seen by the organization ("/api/data/v9.2/accounts?$top=1") where
	// the part names a whole address or a rooted path, and otherwise the text as written ("accounts", "$1/tasks").
	// It is never decoded or cleaned.
	Target string
	// Header holds the part's own headers, without Authorization and Host. Those that judge deletes are left out.
	Header textproto.MIMEHeader
}

// BatchRequest writes the batch in src to dst as it goes to the organization: request lines, Host, Content-Length and
// JSON bodies in the organization's form, Authorization left out, all other bytes the same. Every request in it is shown
// to judge in order, whose error ends the walk and is returned as it is. A batch that readers may take in different ways,
// whose requests lead elsewhere, or that nests too deep is refused with a *batchError; other errors are
// those of src and dst. After an error, dst holds only a part of the batch and must not be sent.
// A body longer than 1 MiB whose links are rewritten loses its Content-Length.
func (r *Rewriter) BatchRequest(dst io.Writer, src io.Reader, boundary string, judge func(*Part) error) error {
	if err := checkBoundary(boundary); err != nil {
		return &batchError{err: err}
	}
	b := newBatch(src, boundary, true)
	q := &batchRequest{batch: b, r: r, mapping: r.toOrg(), judge: judge}
	q.links = newStream(nil, &links{prefix: newLinkPrefix(q.mapping)})
	b.message = q.message
	for {
		err := b.next()
		if err == io.EOF {
			return q.flush(dst)
		}
		if err != nil {
			return err
		}
		if b.out.Len() >= window {
			if err := q.flush(dst); err != nil {
				return err
			}
		}
	}
}

type batchRequest struct {
	*batch
	r       *Rewriter
	mapping mapping
	judge   func(*Part) error
	links   *stream
}

func (q *batchRequest) flush(dst io.Writer) error {
	if _, err := q.out.WriteTo(dst); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	return nil
}

// message judges the next request and writes its head.
func (q *batchRequest) message() error {
	h, err := q.messageHeader()
	if err != nil {
		return err
	}
	if err := q.checkMessage(h); err != nil {
		return &batchError{part: q.part, err: err}
	}
	part, err := q.readPart(h)
	if err != nil {
		return &batchError{part: q.part, err: err}
	}
	if err := q.judge(part); err != nil {
		return err
	}
	h.keep(func(name string) bool { return name == "Host" || part.Header.Values(name) != nil })
	h.edit("Host", func(string) string { return q.r.orgHost() })
	rewrite := q.rewrite
	if path, query, _ := strings.Cut(part.Target, "?"); IsFile(path, query) {
		rewrite = nil
	}
	return q.send(h, q.newContent(h, rewrite))
}

// checkMessage refuses a head that not every reader reads alike.
func (q *batchRequest) checkMessage(h *partHeader) error {
	if h.end == endTooLong {
		return fmt.Errorf("the head of a request is longer than %d KiB", longestHeader>>10)
	}
	if h.end == endDelimiter && strings.Contains(strings.Join(q.open, ""), ":") {
		// OData servers look for no delimiter there, and take one that holds a colon for a header.
		return errors.New("the head of a request ends without a blank line")
	}
	if err := h.check(); err != nil {
		return err
	}
	if h.count("Transfer-Encoding") > 0 {
		return errors.New("a request in a batch has no Transfer-Encoding")
	}
	if err := h.checkCoding(); err != nil {
		return err
	}
	if coding := h.compressed(); coding != "" && partKind(h) != Opaque {
		return fmt.Errorf("the body is compressed (Content-Encoding: %.40s) and cannot be judged: send it plain", coding)
	}
	if partKind(h) == WideJSON {
		return errors.New("the body is JSON, but not in UTF-8: send it in UTF-8")
	}
	if h.count("Content-Length") > 1 || h.count("Content-Type") > 1 {
		return errors.New("Content-Length or Content-Type is there twice")
	}
	length := h.value("Content-Length")
	if h.count("Content-Length") > 0 && (length == "" || len(length) > 18 || strings.Trim(length, "0123456789") != "") {
		return fmt.Errorf("Content-Length %.30q is not a number", length)
	}
	return nil
}

// readPart reads the request line, puts the organization's in its place, and gives what is to be judged.
func (q *batchRequest) readPart(h *partHeader) (*Part, error) {
	text := strings.Trim(h.first, "\r\n")
	from := strings.IndexByte(text, ' ')
	to := strings.LastIndexByte(text, ' ')
	if from < 0 || from == to || !token(text[:from]) || !strings.HasPrefix(text[to+1:], "HTTP/") || strings.ContainsAny(text, "\r\n\x00") {
		return nil, fmt.Errorf("not a request line: %.80q", text)
	}
	raw := text[from+1 : to]
	target, line, err := q.target(raw)
	if err != nil {
		return nil, err
	}
	h.first = strings.Replace(h.first, text, text[:from+1]+line+text[to:], 1)
	part := &Part{Method: text[:from], Target: target, Header: make(textproto.MIMEHeader)}
	for _, header := range h.lines {
		name := headerName(header)
		if name != "Authorization" && name != "Host" {
			from, to := headerValue(header)
			part.Header.Add(name, header[from:to])
		}
	}
	return part, nil
}

func (q *batchRequest) rewrite(src io.Reader) io.Reader {
	q.links.reset(&narrow{src: src, batch: q.batch})
	return q.links
}

// narrow refuses JSON in UTF-16 and the like, which no head need tell: each of JSON's own characters brings a NUL byte
// then, and none stands in JSON otherwise.
type narrow struct {
	src   io.Reader
	batch *batch
}

func (n *narrow) Read(p []byte) (int, error) {
	read, err := n.src.Read(p)
	if bytes.IndexByte(p[:read], 0) >= 0 {
		return 0, n.batch.wrong("the body is JSON, but not in UTF-8: send it in UTF-8")
	}
	return read, err
}
