// Package tracing tells an OpenTelemetry collector of calls: a span for each,
// below it what the call waited for and each attempt at the organization. It is
// set up by OpenTelemetry's own variables, and costs nothing where none of them
// names an endpoint. No span holds a query, a body, a header or a secret.
package tracing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"dynproxy/internal/envfile"
)

// Options are what a Tracer is made of.
type Options struct {
	Environ map[string]string // OTEL_* are read
	Version string            // of the program
	Proxy   func(*url.URL) (*url.URL, error)
	Roots   func() *x509.CertPool // whom to trust; nil for the system's
	Log     zerolog.Logger
}

// Tracer sends spans to a collector. A nil Tracer sends none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns nil where the environment asks for no traces. Its error
// is envfile.Faults. A collector that cannot be reached is no error: the log tells
// of it, once a minute at most, and what it should have got is lost.
func New(o Options) (*Tracer, error) {
	given := variables(o.Environ)
	endpoint, faults := given.wanted()
	if len(faults) > 0 {
		return nil, faults
	}
	if endpoint == nil {
		return nil, nil
	}
	// OpenTelemetry's library reads nothing but the process's environment, which
	// lacks what a file of settings says.
	for name, value := range o.Environ {
		if strings.HasPrefix(name, "OTEL_") {
			os.Setenv(name, value)
		}
	}
	var more []otlptracehttp.Option
	if o.Proxy != nil {
		more = append(more, otlptracehttp.WithProxy(func(r *http.Request) (*url.URL, error) { return o.Proxy(r.URL) }))
	}
	if _, own := given.exporter("CERTIFICATE"); o.Roots != nil && endpoint.Scheme == "https" && own == "" {
		more = append(more, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: o.Roots()}))
	}
	exporter, err := otlptracehttp.New(context.Background(), more...)
	if err != nil {
		return nil, envfile.Faults{{Variable: endpointName, Cure: "cannot be used: " + withoutAddress(err)}}
	}
	who, err := resource.New(context.Background(),
		resource.WithAttributes(attribute.String("service.name", "dynproxy"), attribute.String("service.version", o.Version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, envfile.Faults{{Variable: "OTEL_RESOURCE_ATTRIBUTES", Cure: "cannot be read; write name=value,name=value"}}
	}
	otel.SetErrorHandler(&errorLog{log: o.Log})
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(who))
	return &Tracer{provider: provider, tracer: provider.Tracer("dynproxy", trace.WithInstrumentationVersion(o.Version))}, nil
}

const endpointName = "OTEL_EXPORTER_OTLP_ENDPOINT"

// Close sends what is still to be sent, within the time of ctx.
func (t *Tracer) Close(ctx context.Context) {
	if t != nil {
		t.provider.Shutdown(ctx)
	}
}

// errorLog tells of what goes wrong on the way to the collector.
type errorLog struct {
	log  zerolog.Logger
	told atomic.Int64 // unix seconds
}

const tellEvery = 60 // seconds

func (l *errorLog) Handle(err error) {
	now := time.Now().Unix()
	if told := l.told.Load(); now-told < tellEvery || !l.told.CompareAndSwap(told, now) {
		return
	}
	l.log.Warn().Str("reason", withoutAddress(err)).Msg("traces do not reach the collector of OTEL_EXPORTER_OTLP_ENDPOINT; calls go on")
}

var address = regexp.MustCompile(`"?https?://[^\s"]+"?`)

// withoutAddress is err without addresses, which may hold keys.
func withoutAddress(err error) string {
	text := address.ReplaceAllString(err.Error(), "the collector")
	return fmt.Sprintf("%.200s", text)
}

// propagator is how callers and organizations are told of a trace.
var propagator = propagation.TraceContext{}
