package envfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	values := map[string]string{"A": `"quoted"`, "B": "plain"}
	if err := Replace(dir, "one", []string{"B", "A", "C"}, values); err != nil {
		t.Fatal(err)
	}
	got, err := read(filepath.Join(dir, "one.env"))
	if err != nil || got["A"] != `"quoted"` || got["B"] != "plain" || len(got) != 2 {
		t.Errorf("read back %q, %v", got, err)
	}
	if err := Replace(dir, "one", []string{"A"}, map[string]string{"A": "x\ny"}); err == nil {
		t.Error("a line break was written")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	info, _ := entries[0].Info()
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// Readers never see a file half written, however often it is replaced.
func TestWriteUnderReaders(t *testing.T) {
	dir := t.TempDir()
	values := func(n int) map[string]string {
		return map[string]string{"A": fmt.Sprint(n), "B": fmt.Sprint(n)}
	}
	Replace(dir, "one", []string{"A", "B"}, values(0))
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 200 {
			if err := Replace(dir, "one", []string{"A", "B"}, values(n)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 200 {
				got, err := read(filepath.Join(dir, "one.env"))
				if err != nil || got["A"] != got["B"] {
					t.Errorf("read %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// Whoever writes a file never removes what another has put there since.
func TestWritersLeaveEachOthersFile(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 100 {
				if err := Replace(dir, "one", []string{"A"}, map[string]string{"A": fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Join(dir, "one.env")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAHeldDirectoryIsWaitedForAndThenToldOf(t *testing.T) {
	dir := t.TempDir()
	release, err := hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Exclusive(dir, func() error { return nil }) }()
	if err := Exclusive(dir, func() error { t.Error("two at once"); return nil }); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %v", err)
	}
	<-done
	release()
	if err := Exclusive(dir, func() error { return nil }); err != nil {
		t.Errorf("once free: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What is asked of each of many files that change does not cost more the more
// there are.
func TestAStampLooksAtNoOtherFile(t *testing.T) {
	cost := func(files int) float64 {
		path := t.TempDir()
		for i := range files {
			put(t, path, fmt.Sprintf("t%d.env", i), "A=1")
		}
		before := Stamp(path, "T0")
		put(t, path, "t0.env", "A=22")
		if after := Stamp(path, "t0"); before == "" || after == "" || after == before {
			t.Errorf("%q is the stamp before a change, %q behind it", before, after)
		}
		return testing.AllocsPerRun(10, func() { Stamp(path, "t0") })
	}
	// The name of each other file would be an allocation; a few come and go with
	// what is kept for another use, of which the race detector throws some away.
	if one, many := cost(1), cost(1000); many > one+100 {
		t.Errorf("%v allocations of one file, %v of one among a thousand", one, many)
	}
	odd := t.TempDir()
	put(t, odd, "Odd.env", "A=1")
	os.Mkdir(filepath.Join(odd, "folder.env"), 0o700)
	if Stamp(odd, "odd") == "" || Stamp(odd, "folder") != "" || Stamp(odd, "none") != "" {
		t.Errorf("stamps %q, %q, %q", Stamp(odd, "odd"), Stamp(odd, "folder"), Stamp(odd, "none"))
	}
}

// Whatever is written is read back as it was, or refused under its name.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	dir := t.TempDir()
	for _, value := range []string{"", "x", "#x", "a=b", `"x"`, `'x'`, `"`, `""x""`, `\x`, "$HOME", "a b", "ü\u00a0ü", "\u200bx", " x", "x\n", "x\nREAD_ONLY=false", "x\ry", "\ufeffx", "a\x00b", "\x1a", "x\x1b[2J", "\xff", strings.Repeat("x", maxSize)} {
		err := Replace(dir, "one", []string{"A", "B"}, map[string]string{"A": "1", "B": value})
		if faults, are := errors.AsType[Faults](err); err != nil && (!are || len(faults) != 1 || faults[0].Variable != "B") {
			t.Errorf("%.20q: %v", value, err)
		}
		if err != nil {
			continue
		}
		if got, err := Load(dir, "one"); err != nil || got["A"] != "1" || got["B"] != value {
			t.Errorf("%.20q was written, and is %.20q, %v", value, got["B"], err)
		}
	}
}

// What a writer left behind that was killed goes with the next change; what one
// is about to rename, and what is none of ours, stays.
func TestWhatKilledWritersLeftIsRemoved(t *testing.T) {
	old := time.Now().Add(-2 * abandoned)
	changes := map[string]func(dir string) error{
		"create":  func(dir string) error { return Create(dir, "new", []string{"A"}, map[string]string{"A": "1"}) },
		"replace": func(dir string) error { return Replace(dir, "one", []string{"A"}, map[string]string{"A": "1"}) },
		"remove":  func(dir string) error { return Remove(dir, "one") },
	}
	for name, change := range changes {
		dir := t.TempDir()
		put(t, dir, "one.env", "A=0")
		for _, left := range []string{".gone.env.123.tmp", ".one.env.4.tmp", ".one.env.x.tmp", ".other.7.tmp", "one.env.8.tmp"} {
			put(t, dir, left, "CLIENT_SECRET=x")
			os.Chtimes(filepath.Join(dir, left), old, old)
		}
		put(t, dir, ".young.env.5.tmp", "A=")
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(dir)
		var left []string
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".tmp") {
				left = append(left, e.Name())
			}
		}
		if want := []string{".one.env.x.tmp", ".other.7.tmp", ".young.env.5.tmp", "one.env.8.tmp"}; !slices.Equal(left, want) {
			t.Errorf("%s: %q", name, left)
		}
	}
}
