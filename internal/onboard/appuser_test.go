package onboard

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A role is looked for under its whole name, whatever letters it has: none of
// them ends the parameter or becomes another one.
func TestARoleIsLookedForUnderItsWholeName(t *testing.T) {
	for _, role := range []string{"Sales & Marketing", "A+B", "100% sure", "O'Brien's", "a#b", "a;b", "a=b?c", "Büro €", "x&$top=5", " blank "} {
		var filters []string
		organization := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			values, err := url.ParseQuery(r.URL.RawQuery)
			if err != nil || len(values) != 3 || strings.Contains(r.URL.RawQuery, "+") {
				t.Errorf("%q is sent as %s", role, r.URL.RawQuery)
			}
			filters = append(filters, values.Get("$filter"))
			if strings.HasSuffix(r.URL.Path, "/businessunits") {
				w.Write([]byte(`{"value":[{"businessunitid":"the-unit"}]}`))
				return
			}
			w.Write([]byte(`{"value":[]}`))
		}))
		who := administrator{organization: organization.URL, header: "Bearer x", transport: organization.Client().Transport}
		_, err := who.create(t.Context(), "the-client-id", role)
		organization.Close()
		want := "name eq '" + strings.ReplaceAll(role, "'", "''") + "' and _businessunitid_value eq the-unit"
		if err == nil || !strings.Contains(err.Error(), role) || len(filters) != 2 || filters[1] != want {
			t.Errorf("%q: asked for %q, then %v", role, filters, err)
		}
	}
}
