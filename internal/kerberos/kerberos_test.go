package kerberos

import (
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

const (
	service = "HTTP/proxy.corp.test"
	realm   = "CORP.TEST"
)

// ticket is what a KDC would give a caller, and what the caller makes of it.
// The zero times mean now and an hour from now.
type ticket struct {
	user, realm  string
	service      string
	password     string
	ends         time.Duration // from now
	clock        time.Duration // how far the caller's clock is ahead
	claimedRealm string        // what the authenticator says instead
}

func keysOf(t testing.TB, service, password string) *keytab.Keytab {
	t.Helper()
	keys := keytab.New()
	if err := keys.AddEntry(service, realm, password, time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	return keys
}

func acceptor(t testing.TB) *Acceptor {
	t.Helper()
	text, err := keysOf(t, service, "pw").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keytab")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, service+"@"+realm)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request returns the KRB_AP_REQ of k and its session key.
func (k ticket) request(t testing.TB) ([]byte, types.EncryptionKey) {
	t.Helper()
	now := time.Now().UTC()
	if k.ends == 0 {
		k.ends = time.Hour
	}
	begin := now.Add(min(0, k.ends) - time.Hour)
	user := types.NewPrincipalName(1, k.user)
	issued, session, err := messages.NewTicket(user, k.realm, types.NewPrincipalName(2, k.service), realm, types.NewKrbFlags(),
		keysOf(t, k.service, k.password), 18, 1, begin, begin, now.Add(k.ends), now.Add(k.ends))
	if err != nil {
		t.Fatal(err)
	}
	said, err := types.NewAuthenticator(k.claimedRealm, user)
	if err != nil {
		t.Fatal(err)
	}
	said.CTime = said.CTime.Add(k.clock)
	request, err := messages.NewAPReq(issued, session, said)
	if err != nil {
		t.Fatal(err)
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	text, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text, session
}

// gss puts a mechanism before inner, as openGSS takes it off.
func gss(t testing.TB, mech asn1.ObjectIdentifier, inner []byte) []byte {
	t.Helper()
	oid, err := asn1.Marshal(mech)
	if err != nil {
		t.Fatal(err)
	}
	return asn1tools.AddASNAppTag(append(oid, inner...), 0)
}

func spnego(t testing.TB, token []byte, mechs ...asn1.ObjectIdentifier) []byte {
	t.Helper()
	init, err := asn1.Marshal(struct {
		Mechs []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		Token []byte                  `asn1:"explicit,tag:2"`
	}{mechs, token})
	if err != nil {
		t.Fatal(err)
	}
	choice, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: init})
	if err != nil {
		t.Fatal(err)
	}
	return gss(t, spnegoOID(), choice)
}

func header(token []byte) string { return "Negotiate " + base64.StdEncoding.EncodeToString(token) }

func (k ticket) header(t testing.TB, mechs ...asn1.ObjectIdentifier) string {
	request, _ := k.request(t)
	token := gss(t, kerberosOID(), append([]byte{1, 0}, request...))
	if len(mechs) > 0 {
		token = spnego(t, token, mechs...)
	}
	return header(token)
}

func valid() ticket {
	return ticket{user: "alice", realm: realm, service: service, password: "pw", claimedRealm: realm}
}

func TestAccept(t *testing.T) {
	a := acceptor(t)
	with := func(change func(*ticket)) ticket {
		k := valid()
		change(&k)
		return k
	}
	for name, c := range map[string]struct {
		header    string
		want, err string
	}{
		"SPNEGO":                      {valid().header(t, kerberosOID()), "alice@CORP.TEST", ""},
		"as Windows offers it":        {valid().header(t, microsoftOID(), kerberosOID(), ntlmOID()), "alice@CORP.TEST", ""},
		"without SPNEGO":              {valid().header(t), "alice@CORP.TEST", ""},
		"a service as caller":         {with(func(k *ticket) { k.user = "host/app" }).header(t), "host/app@CORP.TEST", ""},
		"clock a little off":          {with(func(k *ticket) { k.clock = 4 * time.Minute }).header(t), "alice@CORP.TEST", ""},
		"clock ahead":                 {with(func(k *ticket) { k.clock = 6 * time.Minute }).header(t), "", "clock skew"},
		"clock behind":                {with(func(k *ticket) { k.clock = -6 * time.Minute }).header(t), "", "clock skew"},
		"expired":                     {with(func(k *ticket) { k.ends = -time.Hour }).header(t), "", "the ticket has expired"},
		"another password":            {with(func(k *ticket) { k.password = "old" }).header(t), "", "the ticket does not fit the keytab"},
		"another realm":               {with(func(k *ticket) { k.realm, k.claimedRealm = "OTHER.TEST", "OTHER.TEST" }).header(t), "alice@OTHER.TEST", ""},
		"another realm passed as own": {with(func(k *ticket) { k.realm = "OTHER.TEST" }).header(t), "", "the authenticator names another realm than the ticket"},
		"a name with a realm in it":   {with(func(k *ticket) { k.user = "bob@CORP.TEST" }).header(t), "", "the ticket names a principal with odd letters"},
		"NTLM":                        {"NTLM TlRMTVNTUAABAAAA", "", "NTLM"},
		"NTLM as Negotiate":           {header([]byte("NTLMSSP\x00\x01\x00\x00\x00")), "", "NTLM"},
		"NTLM in SPNEGO":              {header(spnego(t, []byte("NTLMSSP\x00\x01"), ntlmOID())), "", "NTLM"},
		"NTLM first":                  {valid().header(t, ntlmOID(), kerberosOID()), "", "NTLM"},
		"another mechanism":           {valid().header(t, asn1.ObjectIdentifier{1, 2, 3}), "", "a mechanism other than Kerberos is preferred"},
		"Basic":                       {"Basic YTpi", "", "not Negotiate"},
		"nothing":                     {"Negotiate", "", "token is not base64"},
		"not base64":                  {"Negotiate ***", "", "token is not base64"},
		"rubbish":                     {header([]byte("rubbish")), "", "malformed token"},
		"an answer":                   {header(gss(t, kerberosOID(), []byte{2, 0, 1})), "", "not an initial Kerberos token"},
		"no request":                  {header(gss(t, kerberosOID(), []byte{1, 0})), "", "malformed token"},
		"too long":                    {"Negotiate " + strings.Repeat("A", maxToken+1), "", "token too long"},
	} {
		principal, reply, err := a.Accept(c.header)
		if principal != c.want || (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %s", name, principal, err, c.want, c.err)
		}
		if (err == nil) != strings.HasPrefix(reply, "Negotiate ") {
			t.Errorf("%s: reply %q", name, reply)
		}
		if refused, ok := errors.AsType[*tokenError](err); err != nil && (!ok || (c.err == "NTLM" || c.err == "clock skew") != (refused.Hint() != "") && c.err != "the ticket has expired") {
			t.Errorf("%s: error %#v", name, err)
		}
	}
}

func TestReplayIsRefused(t *testing.T) {
	a := acceptor(t)
	once := valid().header(t, kerberosOID())
	if _, _, err := a.Accept(once); err != nil {
		t.Fatal(err)
	}
	if principal, _, err := a.Accept(once); err == nil || err.Error() != "the token was used before" {
		t.Errorf("%q, %v", principal, err)
	}
	if _, _, err := a.Accept(valid().header(t, kerberosOID())); err != nil {
		t.Errorf("a fresh token: %v", err)
	}
}

func TestReplaysAreForgottenOnceTheyAreTooOldAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replays
		r.first([]byte("a"), time.Now())
		time.Sleep(2 * maxSkew)
		if r.first([]byte("a"), time.Now()) {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Minute)
		r.first([]byte("b"), time.Now())
		if len(r.seen) != 1 {
			t.Errorf("%d remembered", len(r.seen))
		}
	})
}

// The answer must be what only the holder of the service's key can make.
func TestAnswerProvesTheService(t *testing.T) {
	a := acceptor(t)
	request, session := valid().request(t)
	_, reply, err := a.Accept(header(spnego(t, gss(t, kerberosOID(), append([]byte{1, 0}, request...)), microsoftOID(), kerberosOID())))
	if err != nil {
		t.Fatal(err)
	}
	token, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(reply, "Negotiate "))
	if err != nil {
		t.Fatal(err)
	}
	var choice asn1.RawValue
	var resp negTokenResp
	if _, err := asn1.Unmarshal(token, &choice); err != nil || choice.Tag != 1 {
		t.Fatal(choice.Tag, err)
	}
	if _, err := asn1.Unmarshal(choice.Bytes, &resp); err != nil || resp.State != 0 || !resp.Mech.Equal(microsoftOID()) {
		t.Fatalf("%+v, %v", resp, err)
	}
	mech, inner, ok := openGSS(resp.Token)
	if !ok || !mech.Equal(kerberosOID()) || inner[0] != 2 || inner[1] != 0 {
		t.Fatalf("mechanism token %v", mech)
	}
	var proof messages.APRep
	if err := proof.Unmarshal(inner[2:]); err != nil {
		t.Fatal(err)
	}
	plain, err := crypto.DecryptEncPart(proof.EncPart, session, keyusage.AP_REP_ENCPART)
	if err != nil {
		t.Fatal(err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil || time.Since(part.CTime) > time.Minute {
		t.Errorf("%+v, %v", part, err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	text, _ := keysOf(t, service, "pw").Marshal()
	path := filepath.Join(t.TempDir(), "keytab")
	os.WriteFile(path, text, 0o600)
	if _, err := Open(path, service); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"HTTP/other.corp.test", "http/proxy.corp.test", service + "@OTHER.TEST", ""} {
		if _, err := Open(path, wrong); err == nil || !strings.Contains(err.Error(), "holds no key") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	os.WriteFile(path, []byte("rubbish"), 0o600)
	for _, file := range []string{path, path + ".none"} {
		if _, err := Open(file, service); err == nil {
			t.Errorf("%s was read", file)
		}
	}
}

func FuzzAccept(f *testing.F) {
	a := acceptor(f)
	request, _ := valid().request(f)
	plain := gss(f, kerberosOID(), append([]byte{1, 0}, request...))
	f.Add(plain)
	f.Add(spnego(f, plain, microsoftOID(), kerberosOID()))
	f.Add([]byte("NTLMSSP\x00\x01"))
	f.Fuzz(func(t *testing.T, token []byte) {
		principal, _, err := a.Accept(header(token))
		if err == nil && principal != "alice@CORP.TEST" {
			t.Errorf("accepted %q", principal)
		}
		if _, ok := errors.AsType[*tokenError](err); err != nil && !ok {
			t.Errorf("error %#v", err)
		}
	})
}
