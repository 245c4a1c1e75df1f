package main

import (
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// However slow hundreds of strangers are, who calls normally is served.
func TestNormalCallersAreServedBesideSlowOnes(t *testing.T) {
	needs.Tool(t, "slowhttptest")
	at, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	for _, mode := range modes {
		took, err := at.besides(mode.args, 4*time.Second)
		if err != nil || len(took) == 0 {
			t.Errorf("%s: %d normal calls, %v", mode.name, len(took), err)
		}
	}
}
