package status

import (
	"fmt"
	"testing"
)

// Whoever floods the open page of consent pushes out its own, and all of them
// together take no more than their room.
func TestNewcomersAreBounded(t *testing.T) {
	b := new(Board)
	id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
	b.Welcome(id(0), "192.0.2.1")
	for n := range 50 {
		if !b.Welcome(id(1+n), "192.0.2.2") {
			t.Fatal(id(1 + n))
		}
	}
	if all := b.newcomers.all; len(all) != 1+maxFromOneSender || all[0].From != "192.0.2.1" || all[len(all)-1].TenantID != id(50) {
		t.Errorf("%+v", all)
	}
	for n := range maxNewcomers + 50 {
		b.Welcome(id(1000+n), fmt.Sprintf("10.0.%d.%d", n/250, n%250))
	}
	if all := b.newcomers.all; len(all) != maxNewcomers || all[len(all)-1].TenantID != id(1000+maxNewcomers+49) {
		t.Errorf("%d newcomers", len(all))
	}
	b.Welcome(id(1500), "192.0.2.3")
	if all := b.newcomers.all; len(all) != maxNewcomers || all[len(all)-1].From != "192.0.2.3" {
		t.Error("who says so again is another one, or stays where he was")
	}
	for _, wrong := range []string{"", "contoso", id(1) + "0", "<script>"} {
		if b.Welcome(wrong, "192.0.2.4") {
			t.Errorf("%q is an id", wrong)
		}
	}
}
