package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"

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
		c.endpoints = b.asksForEndpoints()
		return b.readAhead()
	}
	if r.ContentLength > h.Spool.Largest() {
		return &spool.TooLarge{Limit: h.Spool.Largest()}
	}
	if err := h.decodeBody(b, r); err != nil {
		return err
	}
	c.endpoints = b.asksForEndpoints()
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

// asksForEndpoints reports whether the message is, by its beginning, one that
// is answered with the organization's addresses.
func (b *body) asksForEndpoints() bool {
	first, whole := peekAt(b.src, 4<<10)
	b.src = whole
	return bytes.Contains(first, []byte("RetrieveCurrentOrganization"))
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
