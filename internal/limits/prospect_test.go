package limits

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What Prospect says of a call is what Enter then does with it, and asking
// changes nothing.
func TestAProspectIsWhatBecomesOfTheCall(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { prospects(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func prospects(t *testing.T, r *rand.Rand) {
	var g Gate
	b := Budget{Requests: 5 + r.IntN(40), Window: 20 * time.Second, Concurrency: 1 + r.IntN(4), QueueLength: 1 + r.IntN(5)}
	if r.IntN(3) == 0 {
		b.Rate, b.Burst = 1+3*r.Float64(), 1+r.IntN(3)
	}
	if p := g.Prospect(contoso, Caller{"nobody yet", 1}, time.Second); p != (Prospect{}) {
		t.Errorf("of a key that is not known: %+v", p)
	}
	g.Configure(contoso, b)
	ctx, end := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	defer calls.Wait()
	defer end()
	for range 150 {
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		synctest.Wait()
		who := Caller{string(rune('a' + r.IntN(3))), 1}
		patience := time.Duration(1+r.IntN(20)) * time.Second
		before := g.Snapshot(contoso)
		p := g.Prospect(contoso, who, patience)
		if again, after := g.Prospect(contoso, who, patience), g.Snapshot(contoso); fmt.Sprint(before) != fmt.Sprint(after) || fmt.Sprint(p) != fmt.Sprint(again) {
			t.Fatalf("asking changed something: %+v and %+v, %+v and %+v", before, after, p, again)
		}
		answered := make(chan error, 1)
		work, feedback := time.Duration(r.IntN(3000))*time.Millisecond, Feedback{}
		if r.IntN(15) == 0 {
			feedback = Feedback{Refused: Requests, RetryAfter: 3 * time.Second}
		}
		calls.Go(func() {
			pass, err := g.Enter(ctx, contoso, who, patience)
			answered <- err
			if err == nil {
				time.Sleep(work)
				pass.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
			}
		})
		synctest.Wait()
		compareProspect(t, p, answered)
	}
}

// compareProspect looks at what has become of a call by now.
func compareProspect(t *testing.T, p Prospect, answered <-chan error) {
	t.Helper()
	select {
	case err := <-answered:
		full, _ := errors.AsType[*Full](err)
		switch {
		case p.Refused != nil && (full == nil || *full != *p.Refused):
			t.Fatalf("foreseen %+v, got %v", p.Refused, err)
		case p.Refused == nil && full != nil:
			t.Fatalf("refused with %+v, foreseen %+v", full, p)
		case p.Refused == nil && p.Kind != None && err == nil:
			t.Fatalf("let in at once, foreseen to wait: %+v", p)
		}
	default:
		if p.Refused != nil || p.Kind == None {
			t.Fatalf("it waits, foreseen %+v %+v", p, p.Refused)
		}
	}
}
