package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
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
			return a.ready(c.Context())
		},
	}
}

// ready returns nil if the running proxy is. It needs no password.
func (a *asker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return a.unanswered(ctx, err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy at %s is not ready (%s)", a.base, resp.Status)
	}
	return nil
}
