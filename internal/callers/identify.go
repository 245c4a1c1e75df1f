package callers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"dynproxy/internal/retryafter"
)

// Identity is who sent a request, and by which proof that is known.
type Identity struct {
	Caller   *Caller
	Way      string // "key", "basic", "certificate", "negotiate" or "address"
	ObjectID string // CallerObjectId to set on the call, or ""
	Reply    string // WWW-Authenticate value to send with the answer, or ""
}

// Unauthorized is the error for a request that proves nobody. Its text is for
// the log and holds no part of what was sent; Hint, if any, may be told to the
// stranger.
type Unauthorized struct {
	reason string
	Hint   string
	err    error // what Kerberos said, if it was asked
}

func (u *Unauthorized) Error() string {
	if u.err != nil {
		return u.reason + ": " + u.err.Error()
	}
	return u.reason
}

func (u *Unauthorized) Unwrap() error { return u.err }

// Identify returns who sent r from addr over a connection of TLS state, which
// is nil for plain HTTP. The first proof that r carries decides: X-Api-Key,
// Basic, a verified client certificate that a file names, Negotiate, the
// address. A wrong one is not made good by the next. The error is *Unauthorized;
// for a wrong proof it comes the later the more of them addr has sent, by a
// second at most.
// A request without any proof is no failure: it is how a client asks which
// ways there are.
func (b *Book) Identify(r *http.Request, addr netip.Addr, state *tls.ConnectionState) (Identity, error) {
	id, refusal := b.identify(r, addr.Unmap(), state)
	if refusal == nil {
		return id, nil
	}
	if refusal.reason != reasonNothing {
		_ = retryafter.Sleep(r.Context(), b.failures.add(addr, time.Now())) // who leaves before gains nothing
	}
	return Identity{}, refusal
}

// Recognize is Identify for a request that nobody has sent: a wrong proof is
// not held against addr.
func (b *Book) Recognize(r *http.Request, addr netip.Addr, state *tls.ConnectionState) (Identity, error) {
	id, refusal := b.identify(r, addr.Unmap(), state)
	if refusal != nil {
		return Identity{}, refusal
	}
	return id, nil
}

const reasonNothing = "no proof of who calls"

func (b *Book) identify(r *http.Request, addr netip.Addr, tlsState *tls.ConnectionState) (Identity, *Unauthorized) {
	if keys := r.Header["X-Api-Key"]; len(keys) > 0 {
		c := b.byKey(keys[0])
		if len(keys) > 1 || c == nil {
			return Identity{}, &Unauthorized{reason: "unknown key"}
		}
		return c.identity("key"), nil
	}
	scheme, credential := authorization(r.Header)
	switch scheme {
	case "basic":
		return b.basic(credential)
	case "repeated":
		return Identity{}, &Unauthorized{reason: "repeated Authorization"}
	}
	if c := b.byCertificate(tlsState); c != nil {
		return c.identity("certificate"), nil
	}
	switch scheme {
	case "negotiate":
		return b.negotiate("Negotiate " + credential)
	case "ntlm":
		return Identity{}, &Unauthorized{reason: "NTLM", Hint: "NTLM is not supported: use " + b.ways()}
	}
	if c := b.at(addr); c != nil {
		return c.identity("address"), nil
	}
	return Identity{}, &Unauthorized{reason: reasonNothing}
}

func (c *Caller) identity(way string) Identity {
	c.seen.Store(time.Now().Unix())
	return Identity{Caller: c, Way: way, ObjectID: c.CallerObjectID}
}

// authorization returns the scheme in lower case and the rest of the
// Authorization header; the scheme is "repeated" for more than one.
func authorization(h http.Header) (scheme, credential string) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", ""
	case 1:
		scheme, credential, _ = strings.Cut(strings.TrimSpace(values[0]), " ")
		return strings.ToLower(scheme), strings.TrimSpace(credential)
	}
	return "repeated", ""
}

// ways are those of Windows clients that are set up here.
func (b *Book) ways() string {
	const basic = "Basic with the caller's name and key"
	if b.Negotiate == nil {
		return basic
	}
	return "Kerberos (Negotiate), or " + basic
}

// byKey finds a caller by the hash of its key. The time a look-up takes tells
// about the hash only, of which the key cannot be guessed step by step.
func (b *Book) byKey(key string) *Caller {
	if key == "" || len(key) > longestKey {
		return nil
	}
	return b.Holder(keyClaim(hashKey(key)))
}

// basic takes the caller's name in any case, also as DOMAIN\name, which is
// what a .NET NetworkCredential with a domain sends.
func (b *Book) basic(credential string) (Identity, *Unauthorized) {
	name, key, ok := parseBasic(credential)
	if !ok {
		return Identity{}, &Unauthorized{reason: "malformed Basic credentials"}
	}
	c := b.byKey(key)
	if c == nil || c.Name != strings.ToLower(name) {
		return Identity{}, &Unauthorized{reason: "unknown name or key"}
	}
	return c.identity("basic"), nil
}

func parseBasic(credential string) (name, key string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(credential)
	if err != nil || !utf8.Valid(text) {
		return "", "", false
	}
	name, key, ok = strings.Cut(string(text), ":")
	if _, local, found := strings.Cut(name, `\`); found {
		name = local
	}
	return name, key, ok
}

// hinted is an error that has words for the one who sent the proof.
type hinted interface {
	error
	Hint() string
}

func (b *Book) negotiate(header string) (Identity, *Unauthorized) {
	if b.Negotiate == nil {
		return Identity{}, &Unauthorized{reason: "Negotiate without a keytab", Hint: "Negotiate is not set up here: use X-Api-Key, or Basic with the caller's name and key"}
	}
	principal, reply, err := b.Negotiate(header)
	if err != nil {
		refusal := &Unauthorized{reason: "Negotiate", err: err}
		if hinted, ok := errors.AsType[hinted](err); ok {
			refusal.Hint = hinted.Hint()
		}
		return Identity{}, refusal
	}
	c := b.Holder(principalClaim(principal))
	if c == nil {
		return Identity{}, &Unauthorized{reason: "principal " + principal + " is in no caller's file"}
	}
	id := c.identity("negotiate")
	id.Reply = reply
	if own := c.Principals[strings.ToLower(principal)]; own != "" {
		id.ObjectID = own
	}
	return id, nil
}

// byCertificate finds a caller by the certificate that the TLS layer verified.
func (b *Book) byCertificate(state *tls.ConnectionState) *Caller {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	for _, name := range certificateNames(state.VerifiedChains[0][0]) {
		if c := b.Holder(certificateClaim(name)); c != nil {
			return c
		}
	}
	return nil
}

// certificateNames returns every name that a caller's file may give for leaf.
// Each kind has a form of its own, so that a name of one kind cannot pass for
// one of another: a distinguished name has '=', a URI "://", a mail address
// '@', and what has none of these is a common name or a DNS name.
func certificateNames(leaf *x509.Certificate) []string {
	var names []string
	for _, uri := range leaf.URIs {
		if text := uri.String(); strings.Contains(text, "://") {
			names = append(names, text)
		}
	}
	if dn := normalCertificate(leaf.Subject.String()); !strings.Contains(dn, "://") {
		names = append(names, dn)
	}
	for _, mail := range leaf.EmailAddresses {
		if strings.Contains(mail, "@") && !strings.ContainsAny(mail, "=/") {
			names = append(names, strings.ToLower(mail))
		}
	}
	for _, plain := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
		if plain != "" && !strings.ContainsAny(plain, "=/@") {
			names = append(names, strings.ToLower(plain))
		}
	}
	return names
}

// normalCertificate brings the name in a caller's file to the form of
// certificateNames. Only a URI keeps its case.
func normalCertificate(name string) string {
	name = strings.TrimSpace(name)
	if strings.Contains(name, "://") {
		return name
	}
	if strings.Contains(name, "=") {
		parts := strings.Split(name, ",")
		for i, part := range parts {
			parts[i] = strings.TrimSpace(part)
		}
		name = strings.Join(parts, ",")
	}
	return strings.ToLower(name)
}

// Challenges returns the WWW-Authenticate values to send with a 401, none when
// no callers are configured: a challenge would start a password prompt.
func (b *Book) Challenges() []string {
	if !b.Configured() {
		return nil
	}
	challenges := []string{`Basic realm="dynproxy", charset="UTF-8"`}
	if b.Negotiate != nil {
		challenges = append([]string{"Negotiate"}, challenges...)
	}
	return challenges
}
