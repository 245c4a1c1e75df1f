// Package sealed makes what several proxies keep in a store of somebody else's
// unreadable to everybody without a secret that they share.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

// version is the first byte of what is sealed, so that a later form can be told
// from this one.
const version = 1

var errUnreadable = errors.New("it was sealed with another secret, or has been altered")

// Key seals and opens with AES-256-GCM. Two keys of one secret for different
// purposes have nothing in common.
type Key struct{ aead cipher.AEAD }

// NewKey derives the key of a purpose from a secret, by HKDF with SHA-256.
func NewKey(secret []byte, purpose string) Key {
	key, err := hkdf.Key(sha256.New, secret, nil, "dynproxy "+purpose, 32)
	if err != nil {
		panic(err) // only for a length that is no length
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // likewise
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // likewise
	}
	return Key{aead}
}

// Random returns a new secret to derive keys from.
func Random() []byte {
	secret := make([]byte, 32)
	rand.Read(secret)
	return secret
}

// Seal returns plain, unreadable and bound to place: it opens there only.
func (k Key) Seal(plain []byte, place string) []byte {
	return k.aead.Seal([]byte{version}, nil, plain, []byte(place))
}

// Open returns what was sealed for place by one of keys. The error tells
// nothing of the content.
func Open(sealed []byte, place string, keys ...Key) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, errUnreadable
	}
	for _, k := range keys {
		if plain, err := k.aead.Open(nil, nil, sealed[1:], []byte(place)); err == nil {
			return plain, nil
		}
	}
	return nil, errUnreadable
}
