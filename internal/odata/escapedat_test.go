package odata

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// Whatever stands before, behind and between, it is found where it stands first.
func TestEscapedAtIsFoundWhereItStandsFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{`\`, `\"`, `\u0040`, `\u004`, `\u00400`, `\u0041`, `u0040`, `4`, `\\u0040`, `\xxx4`, "a", strings.Repeat("long ", 30), strings.Repeat(`\"`, 300), strings.Repeat("x", 1100)}
	for range 20_000 {
		var w []byte
		for range random.IntN(12) {
			w = append(w, pieces[random.IntN(len(pieces))]...)
		}
		w = w[:len(w)-random.IntN(min(len(w)+1, 8))]
		if got, want := indexEscapedAt(w), bytes.Index(w, []byte(escapedAt)); got != want {
			t.Fatalf("at %d, not %d, in %q", want, got, w)
		}
	}
}
