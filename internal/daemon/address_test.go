package daemon

import (
	"strings"
	"testing"
)

// An address of another machine is told with the cure.
func TestAnAddressOfAnotherMachineIsTold(t *testing.T) {
	for _, address := range []string{"203.0.113.7:0", "[2001:db8::7]:0"} {
		if _, err := Listen(address, false); err == nil || !strings.Contains(err.Error(), address+" is no address to listen at") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
