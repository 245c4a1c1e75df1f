package entra

import "net/url"

// ConsentURL returns the link on which the administrator of tenant grants the
// app clientID access: in its v2 form, which names the organization. redirect
// and state may be empty. tenant may be "organizations" for one that is not
// known yet, and must not be "common".
func ConsentURL(login, tenant, clientID, resource, redirect, state string) string {
	q := url.Values{"client_id": {clientID}, "scope": {resource + "/.default"}}
	if redirect != "" {
		q.Set("redirect_uri", redirect)
	}
	if state != "" {
		q.Set("state", state)
	}
	return "https://" + login + "/" + tenant + "/v2.0/adminconsent?" + q.Encode()
}

// ConsentURLv1 returns the link of 2017, which old documents still show. It
// signs the administrator in as a person to do so, and its answer comes as a
// cross-site POST with a code and an id token.
func ConsentURLv1(login, clientID, redirect, state string) string {
	q := url.Values{
		"client_id": {clientID}, "response_mode": {"form_post"}, "response_type": {"code id_token"},
		"scope": {"openid profile"}, "prompt": {"admin_consent"},
	}
	if redirect != "" {
		q.Set("redirect_uri", redirect)
	}
	if state != "" {
		q.Set("state", state)
		q.Set("nonce", state)
	}
	return "https://" + login + "/common/oauth2/authorize?" + q.Encode()
}
