package opsclient

import "testing"

func TestAddressesToListenAtAreReached(t *testing.T) {
	for listen, want := range map[string]string{
		"[::]:1": "[::1]:1", "0.0.0.0:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "": "127.0.0.1:8081", "ops.lan:1": "ops.lan:1", "[::1]:2": "[::1]:2",
		"nonsense": "", "ops.lan:": "",
	} {
		if got, err := Address(listen); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", listen, got, err)
		}
	}
}
