package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// However slow hundreds of strangers are, who calls normally is served.
func TestNormalCallersAreServedBesideSlowOnes(t *testing.T) {
	if _, err := exec.LookPath("slowhttptest"); err != nil {
		if os.Getenv("DYNPROXY_TEST_REQUIRE") == "all" {
			t.Fatal("slowhttptest is missing: install Debian's slowhttptest")
		}
		t.Skip("slowhttptest is missing: install Debian's slowhttptest to run this")
	}
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
