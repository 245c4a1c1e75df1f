package main

import (
	"context"
	"fmt"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"dynproxy/consent"
	"dynproxy/internal/entra"
)

func (w *cli) consentURL() *cobra.Command {
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

func (w *cli) runConsentURL(ctx context.Context, name string, form consentForm) error {
	cfg, err := w.config()
	if err != nil {
		return err
	}
	a, err := newApp(cfg, newLog(cfg, w.stderr))
	if err != nil {
		return err
	}
	defer a.close()
	t, err := a.find(name)
	if err != nil {
		return err
	}
	authority, err := a.tokens.Authority(ctx, t)
	if err != nil {
		return plainly(err)
	}
	link := a.entraLink(t, authority)
	switch {
	case form.v1:
		link = entra.ConsentURLv1(authority.Login, a.tokens.ClientID(t), cfg.redirectURI(), a.key.State(t.Name, consent.MailLife))
		fmt.Fprintln(w.stderr, "The form of 2017: it signs the administrator in as a person, asks for all that the registration lists and not\n"+
			"for this organization alone, and its answer is a form posted from another site. Prefer the link without --v1.")
	case form.anyTenant:
		link = a.entraLink(t, entra.Authority{Login: authority.Login, TenantID: "organizations"})
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
