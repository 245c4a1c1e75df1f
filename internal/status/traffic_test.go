package status

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallsSlideOutAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b traffic
		for range 3 {
			b.note(&Outcome{Tenant: "contoso"})
		}
		time.Sleep(time.Minute)
		b.note(&Outcome{Tenant: "contoso"})
		if v := b.view("contoso"); v.Calls[minutes-1] != 1 || v.Calls[minutes-2] != 3 || !v.Success.Equal(time.Now()) {
			t.Errorf("%+v", v)
		}
		time.Sleep(59 * time.Minute)
		if v := b.view("contoso"); v.Calls[0] != 1 {
			t.Errorf("%v", v.Calls)
		}
		time.Sleep(3 * time.Hour)
		for _, n := range b.view("contoso").Calls {
			if n != 0 {
				t.Fatalf("%v", b.view("contoso").Calls)
			}
		}
		b.retain(nil)
		if !b.success("contoso").IsZero() {
			t.Error("not forgotten")
		}
	})
}

func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b traffic
		for i := range 3 * maxFailures {
			b.note(&Outcome{Tenant: "contoso", Failure: fmt.Sprint(i)})
			b.note(&Outcome{Tenant: "contoso", Failure: "often"})
			time.Sleep(time.Second)
		}
		f := b.view("contoso").Failures
		if len(f) != maxFailures || f[0].Count+f[1].Count != 3*maxFailures+1 {
			t.Errorf("%v", f)
		}
	})
}
