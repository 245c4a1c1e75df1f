// Package kerberos accepts callers that prove themselves with Kerberos over
// HTTP (the scheme Negotiate, RFC 4559), against a keytab and with no call to
// a domain controller.
package kerberos

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"dynproxy/internal/reload"
)

// maxSkew is how far the clocks of caller and proxy may lie apart: what Active
// Directory allows too.
const maxSkew = 5 * time.Minute

// maxToken bounds a token in base64. Tickets of users in very many groups
// reach 48 KiB, which Windows takes for its own limit.
const maxToken = 64 << 10

// Acceptor checks tokens. It may be used by many goroutines.
type Acceptor struct {
	path    string
	keys    *reload.Files[*keytab.Keytab]
	service types.PrincipalName
	realm   string // of the service; "" for any in the keytab
	replays replays
}

// tokenError is a token that is not accepted; what says why, for the log. It never
// holds any part of the token.
type tokenError struct {
	what string
	hint string
	err  error
}

func (e *tokenError) Error() string {
	if e.err != nil {
		return e.what + ": " + e.err.Error()
	}
	return e.what
}

func (e *tokenError) Unwrap() error { return e.err }

// Hint returns what may be told to the one who sent the token, or "".
func (e *tokenError) Hint() string { return e.hint }

// Accept checks an Authorization header of the scheme Negotiate. It returns
// the principal as user@REALM, and the WWW-Authenticate value with which the
// proxy proves itself in turn. An error whose Hint is not empty may be explained
// to the one who sent the token.
func (a *Acceptor) Accept(authorization string) (principal, reply string, err error) {
	// The ASN.1 code below was written for friendly peers. What it cannot stand
	// is a bad token and must not end more than this request.
	defer func() {
		if crash := recover(); crash != nil {
			principal, reply, err = "", "", &tokenError{what: "malformed token"}
		}
	}()
	request, offer, err := readHeader(authorization)
	if err != nil {
		return "", "", err
	}
	if err := a.verify(request); err != nil {
		return "", "", err
	}
	// The authenticator is written by the caller, who may put any realm there.
	// Only the ticket is the KDC's word.
	proved := request.Ticket.DecryptedEncPart
	if request.Authenticator.CRealm != proved.CRealm {
		return "", "", &tokenError{what: "the authenticator names another realm than the ticket"}
	}
	if principal, err = principalName(proved.CName, proved.CRealm); err != nil {
		return "", "", err
	}
	if !a.replays.first(request.EncryptedAuthenticator.Cipher, time.Now()) {
		return "", "", &tokenError{what: "the token was used before"}
	}
	token, err := offer.answer(request)
	if err != nil {
		return "", "", &tokenError{what: "make the answer token", err: err}
	}
	return principal, "Negotiate " + base64.StdEncoding.EncodeToString(token), nil
}

func readHeader(authorization string) (*messages.APReq, *offer, error) {
	scheme, text, _ := strings.Cut(authorization, " ")
	text = strings.TrimSpace(text)
	switch {
	case strings.EqualFold(scheme, "NTLM"):
		return nil, nil, ntlm()
	case !strings.EqualFold(scheme, "Negotiate"):
		return nil, nil, &tokenError{what: "not Negotiate"}
	case len(text) > maxToken:
		return nil, nil, &tokenError{what: "token too long"}
	}
	token, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(token) == 0 {
		return nil, nil, &tokenError{what: "token is not base64"}
	}
	o, err := readOffer(token)
	if err != nil {
		return nil, nil, err
	}
	request := new(messages.APReq)
	if err := request.Unmarshal(o.request); err != nil {
		return nil, nil, &tokenError{what: "malformed token"} // its error may quote the token
	}
	if len(request.Ticket.SName.NameString) == 0 {
		return nil, nil, &tokenError{what: "malformed token"}
	}
	return request, o, nil
}

func ntlm() *tokenError {
	return &tokenError{
		what: "NTLM",
		hint: "NTLM is not supported. The client fell back from Kerberos: call the proxy by the host name of its service principal, not by an address, from a machine of the domain",
	}
}

func (a *Acceptor) verify(request *messages.APReq) error {
	if a.realm != "" && request.Ticket.Realm != a.realm {
		return &tokenError{what: "the ticket is for a service in another realm"}
	}
	ok, err := request.Verify(a.keys.Get(), maxSkew, types.HostAddress{}, &a.service)
	if err == nil && ok {
		return nil
	}
	said, isKerberos := errors.AsType[messages.KRBError](err)
	if !isKerberos {
		return &tokenError{what: "the ticket does not fit the keytab: it is for another service, or the service's password was changed since the keytab was made"}
	}
	switch said.ErrorCode {
	case errorcode.KRB_AP_ERR_SKEW, errorcode.KRB_AP_ERR_TKT_NYV:
		return &tokenError{what: "clock skew", hint: "the clocks of this machine and the proxy differ by more than 5 minutes"}
	case errorcode.KRB_AP_ERR_TKT_EXPIRED:
		return &tokenError{what: "the ticket has expired", hint: "the Kerberos ticket has expired: sign in again, or run kinit"}
	case errorcode.KRB_AP_ERR_BADADDR:
		return &tokenError{what: "the ticket is bound to addresses"}
	}
	return &tokenError{what: errorcode.Lookup(said.ErrorCode)}
}

// principalName writes a name as user@REALM. Names with a separator inside a
// part could pass for others and are refused.
func principalName(name types.PrincipalName, realm string) (string, error) {
	for _, part := range append([]string{realm}, name.NameString...) {
		if part == "" || strings.ContainsAny(part, "/@\\=, \x00") {
			return "", &tokenError{what: "the ticket names a principal with odd letters"}
		}
	}
	if len(name.NameString) == 0 {
		return "", &tokenError{what: "the ticket names nobody"}
	}
	return strings.Join(name.NameString, "/") + "@" + realm, nil
}
