package service

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What administrators read of the events is what the program says, and all of it.
func TestTheDocsOfEventsSayWhatTheProgramSays(t *testing.T) {
	text, err := os.ReadFile("../../docs/event-log.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (\d+) \| (\w+) \| ([^|]+) \| ([^|]*) \|$`)
	documented := map[Event]bool{}
	var ids []int
	for _, r := range row.FindAllStringSubmatch(string(text), -1) {
		id, _ := strconv.Atoi(r[1])
		ids = append(ids, id)
		m, known := meanings[Event(id)]
		if !known {
			t.Errorf("%d is documented, and there is no such event", id)
			continue
		}
		documented[Event(id)] = true
		if string(m.level) != r[2] || m.title != r[3] {
			t.Errorf("%d is %s %q, and documented as %s %q", id, m.level, m.title, r[2], r[3])
		}
		if cure := strings.ReplaceAll(r[4], "`", ""); cure != m.cure && !(m.cure == "" && cure == "-") {
			t.Errorf("what to do about %d is %q, and documented as %q", id, m.cure, cure)
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("not in order: %v", ids)
	}
	for e, m := range meanings {
		if !documented[e] {
			t.Errorf("%d (%s) is not documented", e, m.title)
		}
		if e < 1 || e > 1000 || m.level != information && m.cure == "" {
			t.Errorf("%d (%s) has an id that Windows' message file does not know, or no cure", e, m.title)
		}
	}
}

// written is an event log.
type written struct {
	mu    sync.Mutex
	texts []string
	fault error
	hangs chan struct{}
}

func (w *written) write(e Event, _ meaning, text string) error {
	if w.hangs != nil {
		<-w.hangs
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		w.texts = append(w.texts, fmt.Sprintf("%d %s", e, text))
	}
	return w.fault
}

func TestManyEventsOfOneKindAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log written
		teller := newTeller(log.write, t.Output())
		for i := range 200 {
			teller.tell(TenantBroken, fmt.Sprintf("tenant %d", i))
		}
		teller.tell(Started, "one of another kind")
		synctest.Wait()
		if len(log.texts) != burst+1 || !strings.HasPrefix(log.texts[burst], "1 ") {
			t.Fatalf("%d events: %q", len(log.texts), log.texts)
		}
		time.Sleep(every)
		teller.tell(TenantBroken, "tenant 200")
		teller.close()
		last := log.texts[len(log.texts)-1]
		if !strings.Contains(last, "tenant 200") || !strings.Contains(last, "180 events of this kind before it were left out") || !strings.Contains(last, "What to do: ") {
			t.Errorf("%q", last)
		}
	})
}

func TestAnEventLogThatIsBrokenIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := written{fault: errors.New("the event log is full")}, bytes.Buffer{}
		teller := newTeller(log.write, &said)
		for range 3 {
			teller.tell(Started, "")
		}
		synctest.Wait()
		log.mu.Lock()
		log.fault = nil
		log.mu.Unlock()
		teller.tell(Stopped, "")
		teller.close()
		if len(log.texts) != 1 || strings.Count(said.String(), "the event log is full") != 1 {
			t.Errorf("%q, and said %q", log.texts, said.String())
		}
	})
}

func TestAnEventLogThatHangsKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := written{hangs: make(chan struct{})}
		teller := newTeller(log.write, t.Output())
		began := time.Now()
		for range 3 * mostWaiting {
			teller.tell(TenantBroken, "x")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("telling took %v", took)
		}
		teller.close()
		if took := time.Since(began); took != lastWords {
			t.Errorf("the end took %v", took)
		}
		close(log.hangs)
	})
}

// What happens while the service ends, such as a tenant's state that has lasted
// by then, may come too late to be told.
func TestWhatIsToldAfterTheEndHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log written
		teller := newTeller(log.write, t.Output())
		teller.tell(Stopped, "")
		teller.close()
		for range 2 * mostWaiting {
			teller.tell(TenantBroken, "")
		}
		if len(log.texts) != 1 {
			t.Errorf("%q", log.texts)
		}
	})
}

func TestALongEventKeepsItsCure(t *testing.T) {
	text := meanings[SettingsRefused].text(strings.Repeat("x", 100_000))
	if len(text) > 13<<10 || !strings.HasSuffix(text, meanings[SettingsRefused].cure) {
		t.Errorf("%d bytes", len(text))
	}
}
