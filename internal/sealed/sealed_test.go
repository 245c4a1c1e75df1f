package sealed_test

import (
	"bytes"
	"testing"

	"dynproxy/internal/sealed"
)

func TestOnlyTheSecretOpens(t *testing.T) {
	secret, plain := sealed.Random(), []byte("a token")
	key := sealed.NewKey(secret, "tokens")
	text := key.Seal(plain, "here")
	if bytes.Contains(text, plain) || bytes.Equal(text, key.Seal(plain, "here")) {
		t.Error("it can be read, or told from another")
	}
	for name, c := range map[string]struct {
		text  []byte
		place string
		key   sealed.Key
		opens bool
	}{
		"as sealed":       {text, "here", sealed.NewKey(secret, "tokens"), true},
		"another secret":  {text, "here", sealed.NewKey(sealed.Random(), "tokens"), false},
		"another purpose": {text, "here", sealed.NewKey(secret, "links"), false},
		"another place":   {text, "there", key, false},
		"altered":         {append(bytes.Clone(text[:len(text)-1]), text[len(text)-1]^1), "here", key, false},
		"a later version": {append([]byte{2}, text[1:]...), "here", key, false},
		"cut off":         {text[:20], "here", key, false},
		"nothing":         {nil, "here", key, false},
	} {
		got, err := sealed.Open(c.text, c.place, sealed.NewKey(sealed.Random(), "tokens"), c.key)
		if c.opens != (err == nil) || c.opens && !bytes.Equal(got, plain) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
