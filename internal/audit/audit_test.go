package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func tenant(name, via, stamp string) Entry {
	return Entry{Via: via, Kind: "tenant", Name: name, Action: "changed", Stamp: stamp, After: map[string]string{"RATE": "5"}}
}

// said is what entries tell, in short: the way and the name of each.
func said(t *testing.T, l *Log, limit int) string {
	t.Helper()
	entries, err := l.Recent(limit)
	if err != nil {
		t.Logf("the record says: %v", err)
	}
	var words []string
	for _, e := range entries {
		words = append(words, e.Via+" "+e.Name)
	}
	return strings.Join(words, ", ")
}

func TestOfEntriesTheNewestComesFirst(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		l := &Log{Dir: dir}
		for i := range 5 {
			if err := l.Record(tenant(fmt.Sprint("t", i), HTTP, "")); err != nil {
				t.Fatal(err)
			}
		}
		if got := said(t, l, 2); got != "http t4, http t3" {
			t.Errorf("%q: %s", dir, got)
		}
		if entries, _ := l.Recent(100); len(entries) != 5 || entries[0].At.IsZero() {
			t.Errorf("%q: %v", dir, entries)
		}
	}
}

// A line whose writer was stopped spoils itself alone, and is told.
func TestATornLineSpoilsItselfAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	l := &Log{Dir: dir}
	l.Record(tenant("one", HTTP, ""))
	whole, _ := os.ReadFile(path)
	os.WriteFile(path, append(whole, whole[:len(whole)/2]...), 0o600)
	if got := said(t, l, 10); got != "http one" {
		t.Error(got)
	}
	l.Record(tenant("two", HTTP, ""))
	if got := said(t, l, 10); got != "http two, http one" {
		t.Error(got)
	}
	if _, err := l.Recent(10); err == nil || !strings.Contains(err.Error(), "not written to their end: 1") {
		t.Errorf("the torn line is not told: %v", err)
	}
}

// What cannot be written is kept, told, and written later in its place.
func TestWhatCannotBeWrittenIsKeptAndTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	os.WriteFile(dir, []byte("a file where the folder should be"), 0o600)
	l := &Log{Dir: dir}
	if err := l.Record(tenant("one", HTTP, "")); err == nil {
		t.Error("nobody was told")
	}
	entries, err := l.Recent(10)
	if len(entries) != 1 || err == nil || !strings.Contains(err.Error(), "kept in memory") {
		t.Errorf("%v, %v", entries, err)
	}
	os.Remove(dir)
	if err := l.Record(tenant("two", HTTP, "")); err != nil {
		t.Error(err)
	}
	if got := said(t, &Log{Dir: dir}, 10); got != "http two, http one" {
		t.Error(got)
	}
}

// Several processes write into one directory, more than one file holds: nothing
// is torn, and what is kept has its bound.
func TestSeveralWritersShareARecordThatHasABound(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 40<<10)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			l := &Log{Dir: dir}
			for i := range 150 {
				e := tenant(fmt.Sprintf("w%d-%d", w, i), Command, "")
				e.Before = map[string]string{"HOSTS": long}
				if err := l.Record(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	entries, err := (&Log{Dir: dir}).Recent(MostEntries)
	if err != nil || len(entries) < 300 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	var size int64
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		info, _ := f.Info()
		size += info.Size()
	}
	if len(files) > olderFiles+1 || size > (olderFiles+1)*(fileSize+4*50<<10) {
		t.Errorf("%d files of %d bytes", len(files), size)
	}
}

// A change that was told by a command is not told again as that of a file,
// whichever comes first; another change of the same file is.
func TestWhatACommandHasToldIsNotToldByItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		proxy, command := &Log{Dir: dir}, &Log{Dir: dir}
		proxy.Notice(tenant("contoso", File, "stamp-1")) // seen before the command has told
		command.Record(tenant("contoso", Command, "stamp-1"))
		proxy.Notice(tenant("hand", File, "stamp-2"))
		time.Sleep(2 * settle)
		if got := said(t, proxy, 10); got != "file hand, command contoso" {
			t.Error(got)
		}
		// Removed by a command, come and gone by hand.
		command.Record(tenant("contoso", Command, Gone))
		proxy.Notice(tenant("contoso", File, Gone))
		time.Sleep(2 * settle)
		proxy.Notice(tenant("contoso", File, "stamp-3"))
		time.Sleep(2 * settle)
		proxy.Notice(tenant("contoso", File, Gone))
		proxy.Close() // records what is held back
		if got := said(t, proxy, 3); got != "file contoso, file contoso, command contoso" {
			t.Error(got)
		}
	})
}

// Of what is before and after a change only what differs is told; a secret may
// be another under the same mark.
func TestOnlyWhatDiffersIsTold(t *testing.T) {
	e := Entry{
		Before: map[string]string{"RATE": "5", "BURST": "9", "CLIENT_SECRET": "[redacted]"},
		After:  map[string]string{"RATE": "7", "BURST": "9", "CLIENT_SECRET": "[redacted]"},
	}
	d := e.Differing("[redacted]")
	if fmt.Sprint(d.Before, d.After) != "map[CLIENT_SECRET:[redacted] RATE:5] map[CLIENT_SECRET:[redacted] RATE:7]" {
		t.Error(d.Before, d.After)
	}
	if len(e.Before) != 3 || len(e.After) != 3 {
		t.Error("the entry itself is another now")
	}
}

// A record that nobody keeps is bounded, and says how much of it was lost.
func TestARecordInMemoryIsBounded(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "state")} {
		if dir != "" {
			os.WriteFile(dir, nil, 0o600) // a file where the folder should be
		}
		l := &Log{Dir: dir}
		for i := range inMemory + 7 {
			l.Record(tenant(fmt.Sprint("t", i), HTTP, ""))
		}
		if l.lost != 7 || len(l.memory) != inMemory || l.memory[0].Name != "t7" {
			t.Errorf("%q: %d lost, %d kept from %s on", dir, l.lost, len(l.memory), l.memory[0].Name)
		}
	}
}
