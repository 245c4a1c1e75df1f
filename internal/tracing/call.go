package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"dynproxy/internal/calls"
)

// Trace follows one call. A nil Trace follows none.
type Trace struct {
	tracer trace.Tracer
	ctx    context.Context // below the call's span
	call   trace.Span
	sent   []sent
}

// sent are the spans of an attempt that reached the wire.
type sent struct {
	attempt      int
	whole, there trace.Span
}

// Begin follows a call that came with header at an instant. A caller that
// traces goes on in its own trace.
func (t *Tracer) Begin(header http.Header, at time.Time) *Trace {
	if t == nil {
		return nil
	}
	came := propagator.Extract(context.Background(), propagation.HeaderCarrier(header))
	ctx, span := t.tracer.Start(came, "call", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at))
	return &Trace{tracer: t.tracer, ctx: ctx, call: span}
}

// ID is the trace's id in hex, "" without a trace.
func (t *Trace) ID() string {
	if t == nil {
		return ""
	}
	return t.call.SpanContext().TraceID().String()
}

// Send begins the part of an attempt, which began at an instant, that is the
// organization's, and writes it into the header that the organization gets.
func (t *Trace) Send(attempt int, began time.Time, header http.Header) {
	if t == nil {
		return
	}
	ctx, whole := t.tracer.Start(t.ctx, "attempt", trace.WithTimestamp(began))
	ctx, there := t.tracer.Start(ctx, "organization", trace.WithSpanKind(trace.SpanKindClient))
	t.sent = append(t.sent, sent{attempt, whole, there})
	propagator.Inject(ctx, propagation.HeaderCarrier(header))
}

// End tells what the call was.
func (t *Trace) End(c *calls.Call) {
	if t == nil {
		return
	}
	began := c.Time.Add(-c.Total)
	defer t.call.End(trace.WithTimestamp(c.Time))
	if !t.call.IsRecording() {
		return
	}
	t.describe(c)
	admitted := c.Total
	if len(c.Tries) > 0 {
		admitted = c.Tries[0].Began
	}
	t.span(t.ctx, "admission", began, admitted)
	for i := range c.Tries {
		t.attempt(i, began, &c.Tries[i])
	}
	if c.Answer > 0 {
		t.span(t.ctx, "answer", c.Time.Add(-c.Answer), c.Answer)
	}
}

func (t *Trace) describe(c *calls.Call) {
	name := c.Method
	if c.Tenant != "" {
		name += " " + c.Tenant
	}
	t.call.SetName(name)
	t.call.SetAttributes(known(
		attribute.String("http.request.method", c.Method), attribute.String("url.path", c.Path), attribute.String("server.address", c.Host),
		attribute.String("client.address", c.Remote), attribute.String("user_agent.original", c.Agent),
		attribute.Int("http.response.status_code", c.Status),
		attribute.String("dynproxy.request_id", c.ID), attribute.String("dynproxy.tenant", c.Tenant), attribute.String("dynproxy.caller", c.Caller),
		attribute.String("dynproxy.service_request_id", c.Service), attribute.String("dynproxy.organization_code", c.OrgCode),
		attribute.String("dynproxy.hint", c.Hint), attribute.String("error.type", c.Error), attribute.Int("dynproxy.operations", c.Operations),
	)...)
	if c.Status >= 500 || c.CutOff {
		t.call.SetStatus(codes.Error, c.Failure())
	}
}

// known are the attributes that say something.
func known(all ...attribute.KeyValue) []attribute.KeyValue {
	kept := all[:0]
	for _, a := range all {
		if a.Value.String() != "" && a.Value.String() != "0" {
			kept = append(kept, a)
		}
	}
	return kept
}

// attempt ends the spans of one attempt, or makes them where it was not sent.
func (t *Trace) attempt(i int, call time.Time, try *calls.Try) {
	began := call.Add(try.Began)
	ends := began.Add(try.Queue + try.Token + try.Upstream)
	var whole, there trace.Span
	for _, s := range t.sent {
		if s.attempt == i {
			whole, there = s.whole, s.there
		}
	}
	if whole == nil {
		_, whole = t.tracer.Start(t.ctx, "attempt", trace.WithTimestamp(began))
	}
	whole.SetAttributes(known(attribute.Int("http.request.resend_count", i), attribute.String("dynproxy.result", try.Result))...)
	below := trace.ContextWithSpan(t.ctx, whole)
	t.span(below, "queue", began, try.Queue)
	t.span(below, "token", began.Add(try.Queue), try.Token)
	if there != nil {
		there.SetAttributes(known(
			attribute.Int("http.response.status_code", try.Status), attribute.String("error.type", try.OrgCode), attribute.String("dynproxy.reason", try.Reason))...)
		if try.Status == 0 || try.Status >= 400 {
			there.SetStatus(codes.Error, "")
		}
		there.End(trace.WithTimestamp(ends))
	}
	whole.End(trace.WithTimestamp(ends))
}

// span is a part that is over.
func (t *Trace) span(below context.Context, name string, began time.Time, took time.Duration) {
	_, s := t.tracer.Start(below, name, trace.WithTimestamp(began))
	s.End(trace.WithTimestamp(began.Add(took)))
}
