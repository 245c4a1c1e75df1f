package main

import (
	"github.com/spf13/cobra"

	"dynproxy/internal/opsclient"
	"dynproxy/internal/secret"
)

func (w *cli) health() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Exit 0 when the running proxy is ready",
		Long: "Asks the proxy that runs with the same settings whether it is ready, at OPS_LISTEN. Made for HEALTHCHECK lines.",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := w.asker()
			if err != nil {
				return err
			}
			return a.Ready(c.Context())
		},
	}
}

// asker asks the proxy that runs with the same settings.
func (w *cli) asker() (*opsclient.Client, error) {
	environ, err := w.environment()
	if err != nil {
		return nil, err
	}
	a, err := opsclient.New(opsclient.Settings{
		Listen: environ[prefix+"OPS_LISTEN"], CertFile: environ[prefix+"OPS_TLS_CERT_FILE"],
		Password: secret.New(environ[prefix+"OPS_PASSWORD"]), PasswordFile: environ[prefix+"OPS_PASSWORD_FILE"],
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return a, nil
}
