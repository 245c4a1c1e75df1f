package traffic

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallsSlideOutAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book
		for range 3 {
			b.Saw("contoso", "")
		}
		time.Sleep(time.Minute)
		b.Saw("contoso", "")
		if v := b.View("contoso"); v.Calls[Minutes-1] != 1 || v.Calls[Minutes-2] != 3 || !v.Success.Equal(time.Now()) {
			t.Errorf("%+v", v)
		}
		time.Sleep(59 * time.Minute)
		if v := b.View("contoso"); v.Calls[0] != 1 {
			t.Errorf("%v", v.Calls)
		}
		time.Sleep(3 * time.Hour)
		for _, n := range b.View("contoso").Calls {
			if n != 0 {
				t.Fatalf("%v", b.View("contoso").Calls)
			}
		}
		b.Forget("contoso")
		if !b.Success("contoso").IsZero() {
			t.Error("not forgotten")
		}
	})
}

func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book
		for i := range 3 * maxFailures {
			b.Saw("contoso", fmt.Sprint(i))
			b.Saw("contoso", "often")
			time.Sleep(time.Second)
		}
		f := b.View("contoso").Failures
		if len(f) != maxFailures || f[0].Count+f[1].Count != 3*maxFailures+1 {
			t.Errorf("%v", f)
		}
	})
}
