package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	stdlog "log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/envfile"
	"dynproxy/internal/textfile"
	"dynproxy/proxy"
)

// ways are the connections that leave the house, each kind with its own limits.
type ways struct {
	organizations *http.Transport
	login         *http.Transport // for tokens
	challenge     *http.Transport // for the question which tenant an organization belongs to
}

func waysOut(cfg *config) (*ways, error) {
	roots, err := trusted(cfg.TrustedCAFile)
	if err != nil {
		return nil, err
	}
	way := func(within time.Duration, named func(string) bool) *http.Transport {
		return proxy.NewTransport(proxy.Way{
			Proxy: cfg.proxy, Roots: roots, AnswerWithin: within,
			MayBePrivate: func(hostport string) bool {
				return slices.Contains(cfg.proxies, hostport) || named(hostport)
			},
		})
	}
	return &ways{
		organizations: way(cfg.UpstreamTimeout, cfg.rules.Organizations.Named),
		login:         way(15*time.Second, cfg.rules.Logins.Named),
		challenge:     way(15*time.Second, cfg.rules.Organizations.Named),
	}, nil
}

// trusted returns the system's roots and those in file; nil, meaning the
// system's, without a file.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	fault := func(cure string, args ...any) error {
		return envfile.Faults{{Variable: prefix + "TRUSTED_CA_FILE", Cure: fmt.Sprintf(cure, args...)}}
	}
	further, err := textfile.ReadCertificates(file)
	if err != nil {
		return nil, fault("is wrong: %v", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, c := range further {
		roots.AddCert(c)
	}
	return roots, nil
}

// keyPair is a certificate and its key in two files, read again when they
// change. While the new ones do not fit together the old ones stay.
type keyPair struct {
	cert, key string

	mu      sync.Mutex // guards what follows
	looked  time.Time
	stamp   string
	current *tls.Certificate
}

const keyPairAge = time.Second

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != nil && time.Since(k.looked) < keyPairAge {
		return k.current, nil
	}
	k.looked = time.Now()
	cert, err := textfile.ReadPEM(k.cert)
	key, keyErr := textfile.ReadPEM(k.key)
	err = errors.Join(err, keyErr)
	if stamp := string(cert) + string(key); err == nil && stamp != k.stamp {
		pair, pairErr := tls.X509KeyPair(cert, key)
		if pairErr == nil {
			k.current, k.stamp = &pair, stamp
		}
		err = pairErr
	}
	if k.current == nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	return k.current, nil
}

// quiet takes what net/http says about connections to the log, at a level
// where it does not drown the rest. net/http quotes no header and no body.
func quiet(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(lines{log}, "", 0)
}

type lines struct{ log zerolog.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Debug().Str("http", strings.TrimSpace(string(p))).Msg("connection")
	return len(p), nil
}
