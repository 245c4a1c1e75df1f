package proxy

import (
	"context"
	"errors"
	"strings"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/egress"
	"dynproxy/internal/limits"
	"dynproxy/internal/problem"
)

// How much of a text that somebody else has written is kept.
const (
	mostOfName  = 255 // bytes of a host or a code
	mostOfAgent = 200
	mostOfPath  = 4096
	mostOfWords = 2000
)

// record makes the record of a call that has ended.
func (o *observer) record(took time.Duration) *calls.Call {
	c, d := o.c, &o.c.done
	*d = calls.Call{
		Time: c.started.Add(took), ID: c.id, Caller: c.caller, Remote: c.remote,
		Host: calls.Plain(o.r.Host, mostOfName), Agent: calls.Plain(o.r.UserAgent(), mostOfAgent),
		Method: calls.Plain(o.r.Method, mostOfName), Path: calls.Plain(o.r.URL.EscapedPath(), mostOfPath), OrgPath: c.path,
		Status: o.status, In: o.in.count(), Out: o.out, Attempts: c.attempts,
		Total: took, Queue: c.held + c.queued, Token: c.minted, Upstream: c.upstream, Retry: c.paused, Body: c.read,
		Operations: c.operations, CutOff: o.aborted, Service: calls.Plain(c.service, mostOfName),
		OrgCode: calls.Plain(c.said.Code, mostOfName), Hint: string(c.hint), Next: c.next, Tries: c.tries, Trace: c.trace.ID(),
	}
	if c.tenant != nil {
		d.Tenant = c.tenant.Name
	}
	if !c.answered.IsZero() {
		d.Answer = took - c.answered.Sub(c.started)
	}
	d.Own = max(0, took-d.Queue-d.Token-d.Upstream-d.Retry-d.Body-d.Answer)
	if n := len(d.Tries); n > 0 && d.OrgCode != "" {
		d.Tries[n-1].OrgCode = d.OrgCode
	}
	if failed := c.failed; failed != nil {
		d.Error, d.Message = string(failed.Code), bounded(failed.Message)
		if failed.Err != nil {
			d.Reason = bounded(failed.Err.Error())
		}
		if d.Status == 0 {
			d.Status = failed.Status()
		}
	}
	return d
}

// mostTries bounds what is kept of attempts: those that follow take the place of
// the last.
const mostTries = 20

// try begins the record of another attempt.
func (c *call) try() {
	if len(c.tries) == mostTries {
		c.tries = c.tries[:mostTries-1]
	}
	c.tries = append(c.tries, calls.Try{Began: time.Since(c.started)})
}

// awaited counts what the last attempt waited for the organization.
func (c *call) awaited(took time.Duration) {
	c.upstream += took
	c.tries[len(c.tries)-1].Upstream += took
}

// tried notes what became of the last attempt.
func (c *call) tried(a *attempt) {
	try := &c.tries[len(c.tries)-1]
	try.Result, try.OrgCode = a.result.String(), calls.Plain(c.said.Code, mostOfName)
	switch {
	case a.resp != nil:
		try.Status = a.resp.StatusCode
	case a.err != nil:
		try.Reason = bounded(whyNot(a.err))
	}
}

// whyNot says for operators why an attempt got no answer.
func whyNot(err error) string {
	if full, is := errors.AsType[*limits.Full](err); is {
		return full.Why()
	}
	if refused, is := errors.AsType[*problem.Error](err); is {
		return refused.Error()
	}
	if errors.Is(err, context.Canceled) {
		return "the caller left"
	}
	return egress.Explain(err)
}

func bounded(words string) string {
	return strings.ToValidUTF8(words[:min(len(words), mostOfWords)], "")
}
