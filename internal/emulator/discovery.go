package emulator

import (
	"net/http"
	"strings"
)

// isShared tells the names that stand for no tenant in particular.
func isShared(tenant string) bool {
	switch strings.ToLower(tenant) {
	case "common", "organizations", "consumers":
		return true
	}
	return false
}

// serveDiscovery answers with a tenant's OpenID Connect metadata, all of it
// under the host that was asked.
func (e *Entra) serveDiscovery(w http.ResponseWriter, r *http.Request, name string) {
	id, issuer := name, "{tenantid}"
	if !isShared(name) {
		t := e.tenant(name)
		if t == nil {
			e.writeRefusal(w, r, refuse(90002, TokenRequest{Tenant: name}, ""))
			return
		}
		id, issuer = t.id, t.id
	}
	host := "https://" + r.Host
	base := host + "/" + id
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                host + "/" + issuer + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"device_authorization_endpoint":         base + "/oauth2/v2.0/devicecode",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   "microsoftonline.com",
	})
}

// serveInstances answers the question which login hosts are one and the same.
func (e *Entra) serveInstances(w http.ResponseWriter, r *http.Request) {
	metadata := []map[string]any{
		{"preferred_network": commercialLogin, "preferred_cache": "login.windows.net",
			"aliases": []string{commercialLogin, "login.windows.net", "login.microsoft.com", "sts.windows.net"}},
		{"preferred_network": chinaLogin, "preferred_cache": chinaLogin,
			"aliases": []string{chinaLogin, "login.chinacloudapi.cn"}},
		{"preferred_network": governmentLogin, "preferred_cache": governmentLogin,
			"aliases": []string{governmentLogin, "login.usgovcloudapi.net"}},
	}
	if !isLoginName(r.Host) {
		metadata = append(metadata, map[string]any{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/common/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata,
	})
}
