package odata

import (
	"bufio"
	"bytes"
	"io"
)

// BatchResponse gives the organization's answer to a batch with the link headers and the JSON bodies of its parts leading
// to the proxy, and their Content-Length right. All other bytes are the source's, and so is what cannot be read as parts.
// It reads no more of src than it is asked for, save for a window and, where a part declares a length, that part's body: up
// to 1 MiB, beyond which the part goes without its length.
func (r *Rewriter) BatchResponse(src io.Reader, boundary string) io.Reader {
	b := newBatch(src, boundary, false)
	if boundary == "" || len(boundary) > longestBoundary {
		b.open = nil
	}
	a := &batchResponse{batch: b, r: r, links: newStream(nil, &links{prefix: newLinkPrefix(r.toPublic())})}
	b.message = a.message
	return a
}

type batchResponse struct {
	*batch
	r     *Rewriter
	links *stream
	err   error
}

func (a *batchResponse) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for a.out.Len() == 0 {
		if a.err != nil {
			return 0, a.err
		}
		a.err = a.next()
	}
	return a.out.Read(p)
}

// message rewrites the head of the next answer.
func (a *batchResponse) message() error {
	h, err := a.messageHeader()
	if err != nil {
		return err
	}
	if h.end != endBlank {
		h.writeTo(&a.out)
		a.next = a.between
		return nil
	}
	for _, name := range linkHeaders {
		h.edit(name, func(value string) string { return a.r.valueToPublic(name, value) })
	}
	rewrite := a.rewrite
	if FullMetadata(h.value("Content-Type")) {
		rewrite = func(src io.Reader) io.Reader { return a.r.operations(a.rewrite(src)) }
	}
	return a.send(h, a.newContent(h, rewrite))
}

// rewrite looks at the beginning of a body, since nothing else in a batch tells an answer of RetrieveCurrentOrganization:
// its context, or without one (odata.metadata=none) its only member.
func (a *batchResponse) rewrite(src io.Reader) io.Reader {
	head := bufio.NewReaderSize(src, 512)
	beginning, _ := head.Peek(512)
	if bytes.Contains(beginning, []byte("RetrieveCurrentOrganizationResponse")) || bytes.Contains(beginning, []byte(`"Detail"`)) {
		return a.r.EndpointsBody(head)
	}
	a.links.reset(head)
	return a.links
}
