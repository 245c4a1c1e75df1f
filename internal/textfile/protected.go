package textfile

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// protectedType is the kind of block in which a protected file's content is.
const protectedType = "DYNPROXY PROTECTED SECRET"

var (
	protectedBegin = []byte("-----BEGIN " + protectedType + "-----")

	errProtectedTorn = errors.New("it is a protected secret that is damaged or cut off; make it anew with dynproxy secret protect")
)

// Protect returns the text of a file in which content is, and which only this
// machine can read: every process on it that may open the file. ReadSecret, and
// all that stands on it, reads such a file. It is an error where the system has
// no means for that.
func Protect(content []byte) ([]byte, error) {
	sealed, err := seal(content)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{
		Type:    protectedType,
		Headers: map[string]string{"Readable-By": "this machine only (Windows DPAPI)", "Made-By": "dynproxy secret protect"},
		Bytes:   sealed,
	}), nil
}

// ReadSecret is ReadRaw for a file that may be protected: then it returns what
// was protected.
func ReadSecret(path string) ([]byte, error) {
	raw, err := ReadRaw(path)
	if err != nil {
		return nil, err
	}
	content, err := unprotect(raw)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w", path, err)
	}
	return content, nil
}

// unprotect returns raw itself where it is not protected.
func unprotect(raw []byte) ([]byte, error) {
	text, err := Decode(raw)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(text), protectedBegin) {
		return raw, nil
	}
	block, rest := pem.Decode(bytes.TrimSpace(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errProtectedTorn
	}
	return unseal(block.Bytes)
}
