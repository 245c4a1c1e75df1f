package tracing

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dynproxy/internal/envfile"
	"dynproxy/internal/textfile"
)

// variables are OpenTelemetry's own. Its library takes what it cannot read for
// unset, with a line on standard error that quotes it, or ends the process; so
// all that it reads is judged before.
type variables map[string]string

// first is the first of names that has a value, and it.
func (v variables) first(names ...string) (name, value string) {
	for _, name := range names {
		if value := strings.TrimSpace(v[name]); value != "" {
			return name, value
		}
	}
	return names[0], ""
}

// exporter is first for a setting of the exporter, which may be given for traces
// alone.
func (v variables) exporter(setting string) (name, value string) {
	return v.first("OTEL_EXPORTER_OTLP_TRACES_"+setting, "OTEL_EXPORTER_OTLP_"+setting)
}

// wanted is the endpoint that traces are to go to, nil for none, and what is
// wrong with it and with all that comes with it.
func (v variables) wanted() (endpoint *url.URL, faults envfile.Faults) {
	if strings.EqualFold(v["OTEL_SDK_DISABLED"], "true") || v["OTEL_TRACES_EXPORTER"] == "none" {
		return nil, nil
	}
	if name, value := v.first("OTEL_TRACES_EXPORTER"); value != "" && value != "otlp" {
		faults.Add(name, "must be otlp or none")
	}
	name, text := v.exporter("ENDPOINT")
	if text == "" {
		return nil, faults
	}
	endpoint, err := url.Parse(text)
	if err != nil || endpoint.Hostname() == "" || !envfile.IsPort(endpoint.Port()) || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		faults.Add(name, "must be the address of a collector, such as http://localhost:4318")
	}
	if name, value := v.exporter("PROTOCOL"); value != "" && value != "http/protobuf" {
		faults.Add(name, "must be http/protobuf: that is what goes out, to port 4318 of most collectors")
	}
	if name, value := v.exporter("COMPRESSION"); value != "" && value != "gzip" && value != "none" {
		faults.Add(name, "must be gzip or none")
	}
	v.judgePairs(&faults)
	v.judgeFiles(&faults)
	v.judgeNumbers(&faults)
	v.judgeSampler(&faults)
	return endpoint, faults
}

// headerName is a token, as HTTP has it.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// judgePairs judges lists of name=value.
func (v variables) judgePairs(faults *envfile.Faults) {
	isName := func(name string) bool { return name != "" }
	for _, list := range []struct {
		names []string
		name  func(string) bool
	}{
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS"}, headerName.MatchString}, {[]string{"OTEL_EXPORTER_OTLP_HEADERS"}, headerName.MatchString},
		{[]string{"OTEL_RESOURCE_ATTRIBUTES"}, isName},
	} {
		variable, value := v.first(list.names...)
		if value == "" {
			continue
		}
		for pair := range strings.SplitSeq(value, ",") {
			name, value, found := strings.Cut(pair, "=")
			if _, err := url.PathUnescape(value); !found || err != nil || !list.name(strings.TrimSpace(name)) {
				faults.Add(variable, "cannot be read; write name=value,name=value, with other characters than letters and digits percent-encoded")
				break
			}
		}
	}
}

// judgeFiles judges the files of certificates and keys.
func (v variables) judgeFiles(faults *envfile.Faults) {
	if name, file := v.exporter("CERTIFICATE"); file != "" {
		text, err := textfile.ReadRaw(file)
		if err != nil {
			faults.Add(name, "cannot be used: %v", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
			faults.Add(name, "cannot be used: %s holds no certificate in PEM form", file)
		}
	}
	certName, cert := v.exporter("CLIENT_CERTIFICATE")
	keyName, key := v.exporter("CLIENT_KEY")
	if cert == "" && key == "" {
		return
	}
	if cert == "" || key == "" {
		faults.Add(certName, "and %s go together: set both", keyName)
		return
	}
	certText, err := textfile.ReadRaw(cert)
	if err != nil {
		faults.Add(certName, "cannot be used: %v", err)
	}
	keyText, keyErr := textfile.ReadRaw(key)
	if keyErr != nil {
		faults.Add(keyName, "cannot be used: %v", keyErr)
	}
	if err != nil || keyErr != nil {
		return
	}
	if _, err := tls.X509KeyPair(certText, keyText); err != nil {
		faults.Add(certName, "and %s cannot be used: they must be a certificate and its key in PEM form", keyName)
	}
}

// judgeNumbers judges numbers, of which some are sizes of memory.
func (v variables) judgeNumbers(faults *envfile.Faults) {
	const hour, queue = 3_600_000, 1 << 20
	for _, n := range []struct {
		name        string
		least, most int
	}{
		{"OTEL_EXPORTER_OTLP_TIMEOUT", 1, hour}, {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", 1, hour},
		{"OTEL_BSP_SCHEDULE_DELAY", 1, 24 * hour}, {"OTEL_BSP_EXPORT_TIMEOUT", 1, hour},
		{"OTEL_BSP_MAX_QUEUE_SIZE", 1, queue}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, queue},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", -1, queue}, {"OTEL_ATTRIBUTE_COUNT_LIMIT", -1, queue},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", -1, queue}, {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", -1, queue}, {"OTEL_SPAN_EVENT_COUNT_LIMIT", -1, queue},
		{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", -1, queue}, {"OTEL_SPAN_LINK_COUNT_LIMIT", -1, queue}, {"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", -1, queue},
	} {
		name, text := v.first(n.name)
		if text == "" {
			continue
		}
		if value, err := strconv.Atoi(text); err != nil || value < n.least || value > n.most {
			unit := ""
			if strings.HasSuffix(name, "TIMEOUT") || strings.HasSuffix(name, "DELAY") {
				unit = " of milliseconds, without a unit"
			}
			faults.Add(name, "must be a whole number from %d to %d%s", n.least, n.most, unit)
		}
	}
}

var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

func (v variables) judgeSampler(faults *envfile.Faults) {
	name, sampler := v.first("OTEL_TRACES_SAMPLER")
	sampler = strings.ToLower(sampler)
	if sampler != "" && !slices.Contains(samplers, sampler) {
		faults.Add(name, "must be one of %s", strings.Join(samplers, ", "))
	}
	name, text := v.first("OTEL_TRACES_SAMPLER_ARG")
	if text == "" || !strings.HasSuffix(sampler, "traceidratio") {
		return
	}
	if share, err := strconv.ParseFloat(text, 64); err != nil || !(share >= 0 && share <= 1) {
		faults.Add(name, "must be the share of calls that are traced, from 0 to 1")
	}
}
