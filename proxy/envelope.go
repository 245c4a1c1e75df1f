package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"dynproxy/internal/problem"
	"dynproxy/internal/soap"
	"dynproxy/internal/spool"
)

// isEnvelope reports whether the request is a message of a SOAP service.
func isEnvelope(method, path string) bool {
	return method == http.MethodPost && soap.Serves(path)
}

// takeEnvelope judges what a SOAP message would do. It is kept for that: one
// that is refused must not be half sent. Where nothing depends on what it says,
// it goes unread.
func (h *Handler) takeEnvelope(c *call, r *http.Request) error {
	b := c.body
	if c.impersonation() && !c.readOnly() && (c.known == nil || len(c.known.Methods) == 0) {
		b.src = c.watchForEndpoints(b.src)
		c.endpoints.asked.Store(coded(r.Header)) // what is not read may ask for them
		return b.readAhead()
	}
	if r.ContentLength > h.Spool.Largest() {
		return &spool.TooLarge{Limit: h.Spool.Largest()}
	}
	if err := h.decodeBody(b, r); err != nil {
		return err
	}
	b.src = c.watchForEndpoints(b.src)
	if _, err := io.Copy(&b.spooled, b.src); err != nil {
		return err
	}
	b.ended, b.read = true, b.spooled.Size()
	b.length = b.read
	envelope, err := soap.Judge(r.Header, b.spooled.Reader())
	if unreadable, is := errors.AsType[*soap.Unreadable](err); is {
		return problem.New(problem.BadRequest, "The message cannot be judged: %s.", unreadable.Reason)
	} else if err != nil {
		return err
	}
	c.operations = envelope.Requests
	return c.allowedEnvelope(envelope)
}

// endpointsWatch passes a SOAP message on, and notes whether anything in it is
// answered with the organization's addresses.
type endpointsWatch struct {
	io.Reader
	come  int // so much of endpointsMessage has come
	asked atomic.Bool
}

const endpointsMessage = "RetrieveCurrentOrganization"

func (c *call) watchForEndpoints(src io.Reader) io.Reader {
	c.endpoints = &endpointsWatch{Reader: src}
	return c.endpoints
}

func (w *endpointsWatch) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if !w.asked.Load() {
		w.look(p[:n])
	}
	return n, err
}

// look goes on with the search. The first letter stands in the name but once,
// and every second byte of UTF-16 is none of it.
func (w *endpointsWatch) look(text []byte) {
	for len(text) > 0 {
		if w.come == 0 {
			start := bytes.IndexByte(text, endpointsMessage[0])
			if start < 0 {
				return
			}
			w.come, text = 1, text[start+1:]
			continue
		}
		switch text[0] {
		case 0:
		case endpointsMessage[w.come]:
			if w.come++; w.come == len(endpointsMessage) {
				w.asked.Store(true)
				return
			}
		default:
			w.come = 0
			continue
		}
		text = text[1:]
	}
}

// allowedEnvelope judges a SOAP message by the policy of the call's tenant and
// of its caller.
func (c *call) allowedEnvelope(e soap.Envelope) error {
	if !c.impersonation() {
		switch {
		case e.Impersonates != "":
			return c.notPersonated("The envelope's header " + e.Impersonates + " acts as another user")
		case e.Bypasses != "":
			return c.notPersonated("The message's parameter " + e.Bypasses + " goes round the organization's own logic")
		}
	}
	if err := c.allowedMethods(e); err != nil {
		return err
	}
	switch {
	case e.Write == "":
		return nil
	case c.tenant.ReadOnly:
		return problem.New(problem.ReadOnly, "%s is read-only here, and %s may change something; an operator can change that with READ_ONLY.", c.tenant.Name, e.Write)
	case c.known != nil && c.known.ReadOnly:
		return problem.New(problem.Forbidden, "The caller %s may only read, and %s may change something; an operator can change that with READ_ONLY in its file.", c.caller, e.Write)
	}
	return nil
}

// allowedMethods holds a caller that may not use all methods to the same in
// envelopes, which all come by POST: what one changes or deletes there counts
// as the method that the Web API has for it.
func (c *call) allowedMethods(e soap.Envelope) error {
	for _, as := range []struct{ method, what string }{{http.MethodPatch, e.Updates}, {http.MethodDelete, e.Deletes}} {
		if as.what != "" && c.known != nil && !c.known.AllowsMethod(as.method) {
			return problem.New(problem.Forbidden, "The caller %s may not use the method %s, and so not %s either; an operator can change that with METHODS in its file.", c.caller, as.method, as.what)
		}
	}
	return nil
}

// readOnly reports whether the call may change nothing.
func (c *call) readOnly() bool { return c.tenant.ReadOnly || c.known != nil && c.known.ReadOnly }
