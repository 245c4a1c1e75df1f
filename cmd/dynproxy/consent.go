package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

func (w *world) consentURL() *cobra.Command {
	var v1 bool
	c := &cobra.Command{
		Use: "consent-url TENANT", Short: "Print the link on which a tenant's administrator grants the app access",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := w.config()
			if err != nil {
				return err
			}
			h, err := build(cfg, newLog(cfg, w.stderr))
			if err != nil {
				return err
			}
			defer h.tokens.close()
			t, err := h.find(args[0])
			if err != nil {
				return err
			}
			authority, err := h.tokens.authority(c.Context(), t)
			if err != nil {
				return plainly(err)
			}
			link := entra.ConsentURL(authority.Login, authority.TenantID, h.tokens.ClientID(t), t.Org, cfg.redirectURI(), "")
			if v1 {
				link = entra.ConsentURLv1(authority.Login, h.tokens.ClientID(t), cfg.redirectURI(), "")
			}
			_, err = fmt.Fprintln(w.stdout, link)
			return err
		},
	}
	c.Flags().BoolVar(&v1, "v1", false, "print the form of 2017, which old documents still show")
	return c
}

// find returns the tenant called name, or says why there is none.
func (h *house) find(name string) (*tenants.Tenant, error) {
	if t := h.book.Lookup(name); t != nil {
		return t, nil
	}
	if fault := h.book.Faults()[name]; fault != nil {
		return nil, fmt.Errorf("the settings of tenant %q have a fault: %w", name, fault)
	}
	return nil, fmt.Errorf("there is no tenant %q; 'dynproxy tenant list' names them", name)
}
