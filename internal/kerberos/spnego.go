package kerberos

import (
	"bytes"
	"encoding/asn1"
	"time"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// This file reads and writes the wrapping of Kerberos messages: SPNEGO (RFC
// 4178) around a GSS token (RFC 4121, 4.1) around the message. The library's
// own wrapping cannot write the message that proves the service, and brings a
// web session store with it.

func spnegoOID() asn1.ObjectIdentifier   { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2} }
func kerberosOID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2} }

// microsoftOID is Kerberos by a slip of Windows 2000, which Windows still
// offers first.
func microsoftOID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 48018, 1, 2, 2} }
func ntlmOID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}
}

// offer is an initial token taken apart.
type offer struct {
	request []byte                // KRB_AP_REQ
	mech    asn1.ObjectIdentifier // under which it was offered; nil without SPNEGO
}

type negTokenInit struct {
	Mechs []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	Flags asn1.BitString          `asn1:"optional,explicit,tag:1"`
	Token []byte                  `asn1:"optional,explicit,tag:2"`
	MIC   asn1.RawValue           `asn1:"optional,explicit,tag:3"`
}

type negTokenResp struct {
	State asn1.Enumerated       `asn1:"explicit,tag:0"`
	Mech  asn1.ObjectIdentifier `asn1:"explicit,tag:1"`
	Token []byte                `asn1:"optional,explicit,tag:2"`
}

// readOffer reads an initial token, with or without SPNEGO around it.
func readOffer(token []byte) (*offer, error) {
	if bytes.HasPrefix(token, []byte("NTLMSSP\x00")) {
		return nil, ntlm()
	}
	mech, inner, ok := openGSS(token)
	switch {
	case !ok:
		return nil, &tokenError{what: "malformed token"}
	case mech.Equal(kerberosOID()):
		request, ok := bytes.CutPrefix(inner, []byte{1, 0})
		if !ok {
			return nil, &tokenError{what: "not an initial Kerberos token"}
		}
		return &offer{request: request}, nil
	case !mech.Equal(spnegoOID()):
		return nil, &tokenError{what: "a mechanism other than Kerberos"}
	}
	var choice asn1.RawValue
	var init negTokenInit
	if _, err := asn1.Unmarshal(inner, &choice); err != nil || choice.Class != asn1.ClassContextSpecific || choice.Tag != 0 {
		return nil, &tokenError{what: "malformed token"}
	}
	if _, err := asn1.Unmarshal(choice.Bytes, &init); err != nil || len(init.Mechs) == 0 {
		return nil, &tokenError{what: "malformed token"}
	}
	// The token belongs to the mechanism that is offered first.
	first := init.Mechs[0]
	switch {
	case first.Equal(ntlmOID()) || bytes.HasPrefix(init.Token, []byte("NTLMSSP\x00")):
		return nil, ntlm()
	case !first.Equal(kerberosOID()) && !first.Equal(microsoftOID()):
		return nil, &tokenError{what: "a mechanism other than Kerberos is preferred"}
	}
	mech, inner, ok = openGSS(init.Token)
	request, initial := bytes.CutPrefix(inner, []byte{1, 0})
	if !ok || !initial || !mech.Equal(kerberosOID()) {
		return nil, &tokenError{what: "not an initial Kerberos token"}
	}
	return &offer{request: request, mech: first}, nil
}

// openGSS opens [APPLICATION 0] { mechanism, inner }.
func openGSS(token []byte) (mech asn1.ObjectIdentifier, inner []byte, ok bool) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(token, &outer)
	if err != nil || len(rest) > 0 || outer.Class != asn1.ClassApplication || outer.Tag != 0 {
		return nil, nil, false
	}
	inner, err = asn1.Unmarshal(outer.Bytes, &mech)
	return mech, inner, err == nil
}

// answer makes the token that completes the offer. It holds the proof that the
// proxy knows the service's key if the caller asked for that.
func (o *offer) answer(request *messages.APReq) ([]byte, error) {
	var proof []byte
	if types.IsFlagSet(&request.APOptions, flags.APOptionMutualRequired) {
		var err error
		if proof, err = proveService(request); err != nil {
			return nil, err
		}
	}
	if o.mech == nil {
		return proof, nil
	}
	resp, err := asn1.Marshal(negTokenResp{Mech: o.mech, Token: proof}) // State 0 is accept-completed
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: resp})
}

// provedTime is EncAPRepPart (RFC 4120, 5.5.2) without a key of its own.
type provedTime struct {
	CTime    time.Time `asn1:"generalized,explicit,tag:0"`
	Cusec    int       `asn1:"explicit,tag:1"`
	Sequence int64     `asn1:"explicit,tag:3"`
}

// proveService makes a KRB_AP_REP: the caller's own time, sent back under the
// session key, which only the service can take out of the ticket. The sequence
// number may be the caller's, as nothing is sent under it afterwards.
func proveService(request *messages.APReq) ([]byte, error) {
	caller := request.Authenticator
	plain, err := asn1.Marshal(provedTime{caller.CTime.UTC(), caller.Cusec, caller.SeqNumber})
	if err != nil {
		return nil, err
	}
	plain = asn1tools.AddASNAppTag(plain, asnAppTag.EncAPRepPart)
	sealed, err := crypto.GetEncryptedData(plain, request.Ticket.DecryptedEncPart.Key, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	message, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: sealed})
	if err != nil {
		return nil, err
	}
	token, err := asn1.Marshal(kerberosOID())
	if err != nil {
		return nil, err
	}
	token = append(token, 2, 0)
	return asn1tools.AddASNAppTag(append(token, asn1tools.AddASNAppTag(message, asnAppTag.APREP)...), 0), nil
}
