package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
)

// errSignature says that a token was not signed by the key at hand.
var errSignature = errors.New("the signature does not fit")

// signer signs the tokens of Entra ID with RS256.
type signer struct {
	key *rsa.PrivateKey
	id  string // the kid of its tokens, which no other signer has
}

// signingKey is made once, since that costs more than all the rest of an
// emulator, and tests have hundreds in a process.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newSigner() (*signer, error) {
	key, err := signingKey()
	if err != nil {
		return nil, fmt.Errorf("make the key that signs tokens: %w", err)
	}
	return &signer{key: key, id: rand.Text()}, nil
}

// signed reports whether a token is of this signer. Another emulator signs with
// the same key under another id.
func (s *signer) signed(t *jwt) bool {
	return t.Header.Algorithm == "RS256" && t.Header.KeyID == s.id && t.verify(&s.key.PublicKey) == nil
}

// sign returns the compact form of a token with these claims.
func (s *signer) sign(claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "RS256", "kid": s.id, "x5t": s.id})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64url(header) + "." + base64url(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed + "." + base64url(signature), nil
}

// keySet is the JSON Web Key Set of the signer.
func (s *signer) keySet() map[string]any {
	return map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": s.id, "x5t": s.id,
		"n": base64url(s.key.N.Bytes()),
		"e": base64url(big.NewInt(int64(s.key.E)).Bytes()),
	}}}
}

// jwt is a token taken apart, its signature not yet judged.
type jwt struct {
	Header struct {
		Algorithm  string `json:"alg"`
		KeyID      string `json:"kid"`
		Thumbprint string `json:"x5t#S256"`
	}
	Claims    claims
	signed    string
	signature []byte
}

// claims are those that the emulator looks at, of its own tokens and of the
// assertions of others. Times are seconds since 1970.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Tenant    string   `json:"tid"`
	App       string   `json:"appid"`
	Object    string   `json:"oid"`
	IDType    string   `json:"idtyp"`
	Name      string   `json:"upn"`
	ID        string   `json:"jti"`
	Scope     string   `json:"scp"`
	Issued    int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	Expires   int64    `json:"exp"`
	// Sequence counts the tokens of one emulator, so that one issued in the
	// same second as a revocation still falls on the right side of it.
	Sequence int64 `json:"xms_seq"`
	// Asked is the claims parameter of the request for the token.
	Asked string `json:"xms_asked"`
}

// audience is one name or several: RFC 7519 allows both.
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// parseJWT takes a compact token apart.
func parseJWT(text string) (*jwt, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a token has three parts, this has %d", len(parts))
	}
	t := &jwt{signed: parts[0] + "." + parts[1]}
	for i, into := range []any{&t.Header, &t.Claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, fmt.Errorf("decode part %d of a token: %w", i+1, err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("read part %d of a token: %w", i+1, err)
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("decode the signature of a token: %w", err)
	}
	t.signature = signature
	return t, nil
}

// verify checks the signature by the algorithm that the header names, RS256
// or PS256, and no other.
func (t *jwt) verify(key *rsa.PublicKey) error {
	sum := sha256.Sum256([]byte(t.signed))
	switch t.Header.Algorithm {
	case "RS256":
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature) != nil {
			return errSignature
		}
	case "PS256":
		if rsa.VerifyPSS(key, crypto.SHA256, sum[:], t.signature, nil) != nil {
			return errSignature
		}
	default:
		return fmt.Errorf("algorithm %q is not accepted", t.Header.Algorithm)
	}
	return nil
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
