package main

import (
	"os"
	"strings"
	"testing"

	"dynproxy/internal/needs"
)

// TestMain is the program itself where that starts its organization or a peer.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "-organization" || os.Args[1] == "-bare") {
		main()
		return
	}
	os.Exit(m.Run())
}

// Every stage works, and in each all peers give the same answers. What it
// measures in so short a time means nothing and is not looked at.
func TestPeersAnswerAlikeInEveryStage(t *testing.T) {
	needs.Tool(t, "nginx")
	needs.Tool(t, "haproxy")
	needs.Long(t)
	var out strings.Builder
	if err := (plan{short: true, out: &out}).run(); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"1 KB", "added p50", "call in flight", "callers with keys"} {
		if !strings.Contains(out.String(), of) {
			t.Errorf("the table lacks %q:\n%s", of, out.String())
		}
	}
}

// A peer that answers one byte otherwise is not measured.
func TestUnequalAnswersAreFound(t *testing.T) {
	answers := []answer{{"nginx", []byte("200 BASE/a")}, {"HAProxy", []byte("200 BASE/a")}}
	if err := alike(answers); err != nil {
		t.Error(err)
	}
	answers[1].text = []byte("200 BASE/b")
	if err := alike(answers); err == nil || !strings.Contains(err.Error(), "HAProxy answers otherwise than nginx, from byte 9") {
		t.Error(err)
	}
}
