package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// serveBare is what one writes in an hour: httputil.ReverseProxy with a token,
// a limit for each tenant, Location rewritten and a line in the log. It knows
// nothing of links in bodies, budgets, retries or who calls.
func serveBare(listen, to, caFile string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	organization, public := "https://"+to, "http://"+listen+"/contoso"
	forward := &httputil.ReverseProxy{
		ErrorLog:  log.New(io.Discard, "", 0),
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64, DisableCompression: true},
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host, pr.Out.Host = "https", to, to
			pr.Out.URL.Path = strings.TrimPrefix(pr.In.URL.Path, "/contoso")
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			pr.Out.Header.Set("Authorization", "Bearer "+token)
		},
		ModifyResponse: func(resp *http.Response) error {
			if location := resp.Header.Get("Location"); location != "" {
				resp.Header.Set("Location", strings.Replace(location, organization, public, 1))
			}
			return nil
		},
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	var limiters sync.Map
	return http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		limiter, known := limiters.Load(tenant)
		if !known {
			limiter, _ = limiters.LoadOrStore(tenant, rate.NewLimiter(1e6, 1e6))
		}
		seen := &statusWriter{ResponseWriter: w}
		// Without this an answer that comes while the last of a request is still
		// being read tears: net/http closes the body under ReverseProxy's hands.
		http.NewResponseController(w).EnableFullDuplex()
		if limiter.(*rate.Limiter).Allow() {
			forward.ServeHTTP(seen, r)
		} else {
			seen.WriteHeader(http.StatusTooManyRequests)
		}
		log.Info("call", "tenant", tenant, "method", r.Method, "path", r.URL.Path, "status", seen.status,
			"in", r.ContentLength, "out", seen.out, "ms", time.Since(began).Milliseconds())
	}))
}

type statusWriter struct {
	http.ResponseWriter
	status int
	out    int64
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.out += int64(n)
	return n, err
}
