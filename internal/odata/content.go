package odata

import (
	"bytes"
	"io"
	"strconv"
)

// content is the body of a message in a batch, and how it is to be rewritten.
type content struct {
	raw *partBody
	// rewrite gives the body its new form, nil to leave it as it is.
	rewrite func(io.Reader) io.Reader
}

// newContent reads from a message's head what its body is.
func (b *batch) newContent(h *partHeader, rewrite func(io.Reader) io.Reader) *content {
	c := &content{raw: &partBody{b: b, declared: -1}}
	if n, err := strconv.ParseInt(h.value("Content-Length"), 10, 64); err == nil && n >= 0 {
		c.raw.declared = n
	}
	if h.compressed() == "" && partKind(h) == JSON {
		c.rewrite = rewrite
	}
	return c
}

// partKind tells what the body of a message in a batch is. One without a type is taken for JSON, as Dataverse does.
func partKind(h *partHeader) Kind {
	for _, name := range fileHeaders {
		if h.count(name) > 0 {
			return Opaque
		}
	}
	if h.value("Content-Type") == "" {
		return JSON
	}
	return kindOf(h.values("Content-Type"), nil)
}

// send writes a message's head, and leaves its body to copyBody. A declared length becomes the new one. A body too long
// to be held for that goes without one: the delimiter ends it as well.
func (b *batch) send(h *partHeader, c *content) error {
	b.next = b.copyBody
	b.body = c.raw
	if c.rewrite != nil {
		b.body = c.rewrite(c.raw)
	}
	if c.rewrite == nil || c.raw.declared < 0 {
		h.writeTo(&b.out)
		return nil
	}
	var held bytes.Buffer
	n, err := io.CopyN(&held, b.body, lengthHold)
	if err != nil && err != io.EOF {
		return err
	}
	if err == io.EOF {
		// An answer whose length lies by more than the difference keeps it.
		if length := c.raw.declared + n - c.raw.length; length >= 0 {
			h.edit("Content-Length", func(string) string { return strconv.FormatInt(length, 10) })
		}
	} else {
		h.keep(func(name string) bool { return name != "Content-Length" })
	}
	h.writeTo(&b.out)
	b.out.Write(held.Bytes())
	return nil
}
