package main

import (
	"context"
	"fmt"
	"time"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

func (w *cli) consentURL() *cobra.Command {
	var form consentForm
	c := &cobra.Command{
		Use: "consent-url TENANT", Short: "Print the link on which a tenant's administrator grants the app access",
		Long: "Prints the link for the tenant's administrator. It is good for one answer, which the running proxy takes at\n" +
			"OPS_LISTEN: <base>/consent/callback must be a redirect URI of the app registration (OPS_PUBLIC_URL). It does not\n" +
			"expire, unless --expires says so, nor with a change of the secret where LINK_KEY_FILE or STATE_DIR is set.\n" +
			"With --page it is that of the proxy's own page, which leads there and can be opened more than once.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return w.runConsentURL(c.Context(), args[0], form) },
	}
	c.Flags().BoolVar(&form.v1, "v1", false, "print the form of 2017, which old documents still show")
	c.Flags().BoolVar(&form.anyTenant, "organization", false, "for an administrator whose tenant is not known yet: whoever signs in chooses it")
	c.Flags().BoolVar(&form.qr, "qr", false, "draw it as a QR code too")
	c.Flags().BoolVar(&form.page, "page", false, "the link of the proxy's own page, which leads to Entra ID")
	c.Flags().DurationVar(&form.expires, "expires", 0, "after how long the link ends, such as 168h (default never)")
	c.MarkFlagsMutuallyExclusive("v1", "organization", "page")
	return c
}

// consentForm is which link is wanted, and how.
type consentForm struct {
	v1, anyTenant, qr, page bool

	expires time.Duration
}

func (w *cli) runConsentURL(ctx context.Context, name string, form consentForm) error {
	a, err := w.app()
	if err != nil {
		return err
	}
	defer a.close()
	t, err := a.find(name)
	if err != nil {
		return err
	}
	if !a.lasting {
		fmt.Fprintf(w.stderr, "dynproxy: the running proxy will not know this link: set %[1]sLINK_KEY_FILE or %[1]sSTATE_DIR for both\n", prefix)
	}
	link, err := w.consentLink(ctx, a, t, form)
	if err != nil {
		return err
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

func (w *cli) consentLink(ctx context.Context, a *app, t *tenants.Tenant, form consentForm) (string, error) {
	if form.page {
		return a.pageLink(t.Name, form.expires), nil
	}
	authority, err := a.tokens.Authority(ctx, t)
	switch {
	case err != nil:
		return "", plainly(err)
	case form.v1:
		fmt.Fprintln(w.stderr, "The form of 2017: it signs the administrator in as a person, asks for all that the registration lists and not\n"+
			"for this organization alone, and its answer is a form posted from another site. Prefer the link without --v1.")
		return entra.ConsentURLv1(authority.Login, a.tokens.ClientID(t), a.config().redirectURI(), a.key.State(t.Name, form.expires)), nil
	case form.anyTenant:
		authority.TenantID = "organizations"
	}
	return a.entraLinkFor(t, authority, form.expires), nil
}
