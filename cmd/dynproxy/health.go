package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/textfile"
)

func (w *cli) health() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Exit 0 when the running proxy is ready",
		Long: "Asks the proxy that runs with the same settings whether it is ready, at OPS_LISTEN. Made for HEALTHCHECK lines.",
		RunE: func(c *cobra.Command, _ []string) error {
			environ, err := w.environment()
			if err != nil {
				return err
			}
			return askReady(c.Context(), opsAddress(environ[prefix+"OPS_LISTEN"]), environ[prefix+"OPS_TLS_CERT_FILE"])
		},
	}
}

// opsAddress is where this machine reaches a listener.
func opsAddress(listen string) string {
	if listen == "" {
		listen = "127.0.0.1:8081"
	}
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// askReady asks the proxy at address, by TLS where cert names a certificate.
func askReady(ctx context.Context, address, cert string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	scheme, transport := "http", &http.Transport{}
	if cert != "" {
		scheme, transport.TLSClientConfig = "https", onlyCertificate(cert)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/readyz", nil)
	if err != nil {
		return &usageError{fmt.Errorf("%sOPS_LISTEN must be host:port, such as 127.0.0.1:8081", prefix)}
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return fmt.Errorf("no proxy answers at %s; is it running, and with the same OPS_LISTEN?", address)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy at %s is not ready (%s)", address, resp.Status)
	}
	return nil
}

// onlyCertificate trusts the certificate in a file and no other, by whatever
// name: it is our own, and this machine's.
func onlyCertificate(path string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does more
		VerifyConnection: func(state tls.ConnectionState) error {
			own, err := textfile.ReadCertificates(path)
			if err != nil {
				return err
			}
			if !own[0].Equal(state.PeerCertificates[0]) {
				return errors.New("another certificate than that of the settings")
			}
			return nil
		},
	}
}
