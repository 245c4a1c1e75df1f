package tokens

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/entra"
)

func newMints() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dynproxy_mints_total", Help: "Tokens asked for, by what came of it; shared are those that another proxy had asked for.",
	}, []string{"result"})
}

func newTook() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "dynproxy_mint_duration_seconds", Help: "How long Entra ID took for a token.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
}

var expiryDesc = prometheus.NewDesc("dynproxy_credential_expiry_seconds", "Seconds until a credential of an app registration ends.", []string{"client_id", "credential"}, nil)

func (s *Source) observe(_ entra.Target, took time.Duration, failed *entra.Error) {
	result := "minted"
	if failed != nil {
		result = failed.Class.String()
	}
	s.mints.WithLabelValues(result).Inc()
	s.took.Observe(took.Seconds())
}

// taken counts a token that another proxy has asked for.
func (s *Source) taken() { s.mints.WithLabelValues("shared").Inc() }

// Describe is prometheus.Collector's.
func (s *Source) Describe(descs chan<- *prometheus.Desc) {
	s.mints.Describe(descs)
	s.took.Describe(descs)
	descs <- expiryDesc
}

// Collect is prometheus.Collector's.
func (s *Source) Collect(metrics chan<- prometheus.Metric) {
	s.mints.Collect(metrics)
	s.took.Collect(metrics)
	told := make(map[[2]string]bool)
	for _, x := range s.client.Expiries() {
		// The nearest comes first; two tenants may name one registration.
		if name := [2]string{x.ClientID, x.Credential}; !told[name] {
			told[name] = true
			metrics <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, time.Until(x.At).Seconds(), name[0], name[1])
		}
	}
}
