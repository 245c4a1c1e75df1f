// Package check is the doctor: it walks a tenant's chain link by link, from its
// settings to an answer of its organization, and says of each in plain words
// what was found and what to do next.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"dynproxy/tenants"
)

// Link is one link of a chain.
type Link struct {
	Name    string        `json:"link"` // settings, organization, token, WhoAmI
	OK      bool          `json:"ok"`
	Finding string        `json:"finding"`
	Next    string        `json:"next,omitempty"` // what to do when it is not OK
	Took    time.Duration `json:"-"`
	Millis  int64         `json:"ms"`
}

// Report is what was found of one tenant. The walk ends at the first link that
// is broken.
type Report struct {
	Tenant string `json:"tenant"`
	OK     bool   `json:"ok"`
	Links  []Link `json:"links"`
}

// Doctor walks chains. Its functions are those that calls go through too, so
// that what it says is what callers meet. Their errors tell a caller in plain
// words what to do: Advice reads that.
type Doctor struct {
	Authority    func(context.Context, *tenants.Tenant) (login, tenantID string, err error)
	Token        func(context.Context, *tenants.Tenant) (header string, err error)
	Advice       func(error) string
	Organization http.RoundTripper
}

// Faulty reports a tenant whose settings cannot be used.
func Faulty(name string, fault error) Report {
	return Report{Tenant: name, Links: []Link{{
		Name: "settings", Finding: fault.Error(), Next: "Mend the file of " + name + " in the tenants directory.",
	}}}
}

// Check walks t's chain.
func (d *Doctor) Check(ctx context.Context, t *tenants.Tenant) Report {
	report := Report{Tenant: t.Name}
	var header string
	for _, link := range []struct {
		name string
		walk func() (finding, next string)
	}{
		{"settings", func() (string, string) { return "organization " + t.OrgHost(), "" }},
		{"organization", func() (string, string) { return d.organization(ctx, t) }},
		{"token", func() (finding, next string) {
			header, finding, next = d.token(ctx, t)
			return finding, next
		}},
		{"WhoAmI", func() (string, string) { return d.whoAmI(ctx, t, header) }},
	} {
		began := time.Now()
		finding, next := link.walk()
		took := time.Since(began)
		report.Links = append(report.Links, Link{Name: link.name, OK: next == "", Finding: finding, Next: next, Took: took, Millis: took.Milliseconds()})
		if next != "" {
			return report
		}
	}
	report.OK = true
	return report
}

func (d *Doctor) organization(ctx context.Context, t *tenants.Tenant) (finding, next string) {
	login, tenantID, err := d.Authority(ctx, t)
	if err != nil {
		return "it does not say which tenant it belongs to", d.Advice(err)
	}
	return fmt.Sprintf("tenant %s at %s", tenantID, login), ""
}

func (d *Doctor) token(ctx context.Context, t *tenants.Tenant) (header, finding, next string) {
	header, err := d.Token(ctx, t)
	if err != nil {
		return "", "none", d.Advice(err)
	}
	return header, "minted", ""
}

func (d *Doctor) whoAmI(ctx context.Context, t *tenants.Tenant, header string) (finding, next string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Org+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		return "the organization's address cannot be used", "Mend ORG_URL."
	}
	r.Header.Set("Authorization", header)
	resp, err := d.Organization.RoundTrip(r)
	if err != nil {
		return "no answer", d.Advice(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what is missing is no JSON
	var said struct {
		UserID string `json:"UserId"`
		Error  struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &said); err == nil && resp.StatusCode == http.StatusOK && said.UserID != "" {
		return "the application user is " + said.UserID, ""
	}
	return fmt.Sprintf("status %d %s", resp.StatusCode, said.Error.Code), adviceFor(t, resp.StatusCode, said.Error.Code)
}

// adviceFor is the next step after an answer of the organization's own.
func adviceFor(t *tenants.Tenant, status int, code string) string {
	switch code {
	case "0x80072560":
		return fmt.Sprintf("Create the application user: pac admin assign-user --environment %s --user <application id> --role <role> --application-user", t.Org)
	case "0x80040225", "0x8004d24b":
		return "The application user is disabled: enable it in the Power Platform admin center, under Users + permissions, Application users."
	case "0x80040220", "0x80048306":
		return "The application user has no security role that allows this: give it one."
	case "0x80095ffe":
		return "The organization's IP firewall blocks this address: allow it, or allow application users."
	case "0x80095ffc":
		return "The organization restricts which applications may call it: allow this one."
	}
	switch status {
	case http.StatusUnauthorized:
		return "The organization refuses a fresh token: check that ORG_URL and TENANT_ID belong together."
	case http.StatusTooManyRequests:
		return "The organization is throttling: wait, and try again."
	}
	return "The organization does not answer as it should: try again, and look at its status in the Power Platform admin center."
}
