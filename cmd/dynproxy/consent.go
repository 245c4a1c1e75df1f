package main

import (
	"context"
	"encoding/csv"
	"errors"
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
		Use: "consent-url TENANT | --all", Short: "Print the link on which a tenant's administrator grants the app access",
		Long: "Prints the link for the tenant's administrator. It is good for one answer, which the running proxy takes at\n" +
			"OPS_LISTEN: <base>/consent/callback must be a redirect URI of the app registration (OPS_PUBLIC_URL). It does not\n" +
			"expire, unless --expires says so, nor with a change of the secret where LINK_KEY_FILE or STATE_DIR is set.\n" +
			"With --page it is that of the proxy's own page, which leads there and can be opened more than once; with --about\n" +
			"that of a page which first says to the administrator who asks, and for what (PUBLISHER_NAME).",
		Args: func(c *cobra.Command, args []string) error {
			if form.all {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("expires") && form.expires < time.Second {
				return &usageError{errors.New("--expires must be at least 1s, such as 168h; without it the link does not end")}
			}
			return w.runConsentURL(c.Context(), args, form)
		},
	}
	c.Flags().BoolVar(&form.v1, "v1", false, "print the form of 2017, which old documents still show")
	c.Flags().BoolVar(&form.anyTenant, "organization", false, "for an administrator whose tenant is not known yet: whoever signs in chooses it")
	c.Flags().BoolVar(&form.qr, "qr", false, "draw it as a QR code too")
	c.Flags().BoolVar(&form.page, "page", false, "the link of the proxy's own page, which leads to Entra ID")
	c.Flags().BoolVar(&form.about, "about", false, "the link of the proxy's own page that says what is asked, with a button to Entra ID")
	c.Flags().DurationVar(&form.expires, "expires", 0, "after how long the link ends, such as 168h (default never)")
	c.Flags().BoolVar(&form.all, "all", false, "the links of all tenants, one a line")
	c.Flags().BoolVar(&form.csv, "csv", false, "print name,org_url,consent_url lines for a spreadsheet")
	c.MarkFlagsMutuallyExclusive("v1", "organization", "page", "about")
	c.MarkFlagsMutuallyExclusive("qr", "all")
	c.MarkFlagsMutuallyExclusive("qr", "csv")
	return c
}

// consentForm is which link is wanted, and how.
type consentForm struct {
	v1, anyTenant, qr, page, about, all, csv bool

	expires time.Duration
}

func (w *cli) runConsentURL(ctx context.Context, names []string, form consentForm) error {
	a, err := w.app()
	if err != nil {
		return err
	}
	defer a.close()
	if !a.lasting {
		fmt.Fprintf(w.stderr, "dynproxy: the running proxy will not know this link: set %[1]sLINK_KEY_FILE or %[1]sSTATE_DIR for both\n", prefix)
	}
	if form.all || form.csv {
		return w.printLinks(ctx, a, names, form)
	}
	t, err := a.find(names[0])
	if err != nil {
		return err
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

// printLinks prints the links of several tenants. One that has none, since its
// organization does not answer, does not hide the others.
func (w *cli) printLinks(ctx context.Context, a *app, names []string, form consentForm) error {
	if form.all {
		for t := range a.book.All() {
			names = append(names, t.Name)
		}
	}
	table := csv.NewWriter(w.stdout)
	if form.csv {
		table.Write([]string{"name", "org_url", "consent_url"})
	}
	var failed error
	for _, name := range names {
		t, err := a.find(name)
		var link string
		if err == nil {
			link, err = w.consentLink(ctx, a, t, form)
		}
		switch {
		case err != nil:
			fmt.Fprintf(w.stderr, "dynproxy: %s: %v\n", name, err)
			failed = errNotWell
		case form.csv:
			table.Write([]string{t.Name, t.Org, link})
		default:
			fmt.Fprintf(w.stdout, "%s %s\n", t.Name, link)
		}
	}
	table.Flush()
	return errors.Join(failed, table.Error())
}

func (w *cli) consentLink(ctx context.Context, a *app, t *tenants.Tenant, form consentForm) (string, error) {
	if form.page {
		return a.pageLink(t.Name, form.expires), nil
	}
	if form.about {
		return a.aboutLink(t.Name, form.expires), nil
	}
	authority, err := a.tokens.Authority(ctx, t)
	switch {
	case err != nil:
		return "", plainly(err)
	case form.v1:
		fmt.Fprintln(w.stderr, "The form of 2017: it signs the administrator in as a person, asks for all that the registration lists and not\n"+
			"for this organization alone, and its answer is a form posted from another site. Prefer the link without --v1.")
		return entra.ConsentURLv1(authority.Login, a.tokens.ClientID(t), a.config().redirectURI(), a.linkKey().State(t.Name, form.expires)), nil
	case form.anyTenant:
		authority.TenantID = "organizations"
	}
	return a.entraLinkFor(t, authority, form.expires), nil
}
