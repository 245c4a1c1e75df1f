// Package secret holds strings that must never be printed.
package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Text is a secret: every way of printing it, encoding it or logging it gives
// "[redacted]" (or nothing, for the empty one). Only Reveal gives the value,
// so that a search for Reveal lists every use. The zero value is the empty
// secret.
type Text struct{ value string }

// New returns s as a secret.
func New(s string) Text { return Text{s} }

// Reveal returns the secret itself.
func (t Text) Reveal() string { return t.value }

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.value == "" }

// Fingerprint names the secret without telling it: 16 hex digits of its
// SHA-256, or "" for the empty one. It serves to tell two secrets apart inside
// the process; it is not meant for logs, since a weak secret can be guessed
// from it.
func (t Text) Fingerprint() string {
	if t.value == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(t.value))
	return hex.EncodeToString(sum[:8])
}

// String returns "[redacted]", or "" for the empty secret.
func (t Text) String() string {
	if t.value == "" {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (t Text) GoString() string { return t.String() }

// Format prints String whatever the verb.
func (t Text) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// MarshalText is String, for encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes text whole. It never fails: an error would carry the
// value.
func (t *Text) UnmarshalText(text []byte) error {
	t.value = string(text)
	return nil
}
