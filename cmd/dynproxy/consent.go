package main

import (
	"context"
	"fmt"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"dynproxy/consent"
	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

func (w *world) consentURL() *cobra.Command {
	var form consentForm
	c := &cobra.Command{
		Use: "consent-url TENANT", Short: "Print the link on which a tenant's administrator grants the app access",
		Long: "Prints the link for the tenant's administrator. It is good for seven days and one answer, which the running\n" +
			"proxy takes at OPS_LISTEN: <base>/consent/callback must be a redirect URI of the app registration (OPS_PUBLIC_URL).",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return w.runConsentURL(c.Context(), args[0], form) },
	}
	c.Flags().BoolVar(&form.v1, "v1", false, "print the form of 2017, which old documents still show")
	c.Flags().BoolVar(&form.anyTenant, "organization", false, "for an administrator whose tenant is not known yet: whoever signs in chooses it")
	c.Flags().BoolVar(&form.qr, "qr", false, "draw it as a QR code too")
	c.MarkFlagsMutuallyExclusive("v1", "organization")
	return c
}

// consentForm is which link is wanted, and how.
type consentForm struct{ v1, anyTenant, qr bool }

func (w *world) runConsentURL(ctx context.Context, name string, form consentForm) error {
	cfg, err := w.config()
	if err != nil {
		return err
	}
	h, err := build(cfg, newLog(cfg, w.stderr))
	if err != nil {
		return err
	}
	defer h.tokens.close()
	t, err := h.find(name)
	if err != nil {
		return err
	}
	authority, err := h.tokens.authority(ctx, t)
	if err != nil {
		return plainly(err)
	}
	state := h.tokens.key.State(t.Name, consent.MailLife)
	link := entra.ConsentURL(authority.Login, authority.TenantID, h.tokens.ClientID(t), t.Org, cfg.redirectURI(), state)
	switch {
	case form.v1:
		link = entra.ConsentURLv1(authority.Login, h.tokens.ClientID(t), cfg.redirectURI(), state)
		fmt.Fprintln(w.stderr, "The form of 2017: it signs the administrator in as a person, asks for all that the registration lists and not\n"+
			"for this organization alone, and its answer is a form posted from another site. Prefer the link without --v1.")
	case form.anyTenant:
		link = entra.ConsentURL(authority.Login, "organizations", h.tokens.ClientID(t), t.Org, cfg.redirectURI(), state)
	}
	if _, err := fmt.Fprintln(w.stdout, link); err != nil || !form.qr {
		return err
	}
	code, err := qrcode.New(link, qrcode.Low)
	if err != nil {
		return fmt.Errorf("draw the link: %w", err)
	}
	_, err = fmt.Fprint(w.stdout, code.ToSmallString(false))
	return err
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
