package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// told is standard error.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits for the last of n lines.
func (w *told) await(t *testing.T, words string, n int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		said := w.String()
		if strings.Count(said, "\n") == n && strings.Contains(said, words) {
			return
		}
		if strings.Count(said, "\n") > n || time.Since(began) > 20*time.Second {
			t.Fatalf("%q, want %q as line %d", said, words, n)
		}
	}
}

func lines(t *testing.T, paths ...string) []string {
	t.Helper()
	var all []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(text), "\n") {
			t.Errorf("%s ends in the middle of a line", path)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	return all
}

func TestAFullFileIsTurnedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dynproxy.log")
	f := New(path, 1<<20, 3, new(told))
	line := strings.Repeat("x", 1000)
	n := 0
	var batch []byte // larger than a file
	for range 3000 {
		batch = fmt.Appendf(batch, "%07d %s\n", n, line)
		n++
	}
	for range 2 {
		if written, err := f.Write(batch); err != nil || written != len(batch) {
			t.Fatal(written, err)
		}
	}
	var found []string
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // lumberjack removes by itself, a moment later
		if found, _ = filepath.Glob(filepath.Join(dir, "*")); len(found) == 4 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%q", found)
		}
	}
	f.Close()
	if found[len(found)-1] != path && found[0] != path {
		t.Errorf("%q", found)
	}
	slices.SortFunc(found, func(a, b string) int { // the one that is written comes last
		if a == path {
			return 1
		} else if b == path {
			return -1
		}
		return strings.Compare(a, b)
	})
	all := lines(t, found...)
	for i, l := range all {
		if want := fmt.Sprintf("%07d ", (n-len(all)%n+i)%n); !strings.HasPrefix(l, want) || len(l) != 1008 {
			t.Fatalf("line %d of %d is %.20q, want %q", i, len(all), l, want)
		}
	}
	for _, path := range found {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", err, info)
		}
	}
}

// A disk that is full loses lines; it is told once, and when there is room
// again the log goes on, with whole lines.
func TestAFullDiskIsToldOnce(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		needs.Missing(t, "there is no /dev/full")
	}
	path, errs := filepath.Join(t.TempDir(), "x.log"), new(told)
	f := New(path, 1<<20, 3, errs)
	defer f.Close()
	f.Write([]byte("before\n"))
	os.Rename(path, path+".kept")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	f.looked = time.Time{} // as if time had passed
	for range 5 {
		if n, err := f.Write([]byte("lost\n")); err == nil || n != 0 {
			t.Errorf("%d, %v", n, err)
		}
	}
	errs.await(t, "cannot be written: no space left on device", 1)
	os.Remove(path)
	f.looked = time.Time{} // as if time had passed
	for range 5 {
		if n, err := f.Write([]byte("after\n")); err != nil || n != 6 {
			t.Errorf("%d, %v", n, err)
		}
	}
	errs.await(t, "is written again", 2)
	if got := lines(t, path); len(got) != 5 || got[0] != "after" {
		t.Errorf("%q", got)
	}
}

// Whoever moves or deletes the file, or its directory, finds the log going on
// under its name.
func TestTheFileMayBeMovedAndDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	f := New(path, 1<<20, 3, new(told))
	defer f.Close()
	for what, change := range map[string]func(){
		"nothing": func() {},
		"moved":   func() { os.Rename(path, path+".1") },
		"another": func() { os.Rename(path, path+".2"); os.WriteFile(path, []byte("new\n"), 0o600) },
		"deleted": func() { os.Remove(path) },
		"all":     func() { os.RemoveAll(dir) },
	} {
		f.Write([]byte("a line\n"))
		change()
		f.looked = time.Time{} // as if time had passed
		if n, err := f.Write([]byte(what + "\n")); err != nil || n != len(what)+1 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		if got := lines(t, path); got[len(got)-1] != what {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestWhatCannotBeALogIsToldInWords(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	wrong := map[string]string{
		filepath.Join(dir, "none", "x.log"): "does not exist",
		filepath.Join(file, "x.log"):        "no directory",
		dir:                                 "it is a directory",
	}
	if os.Getuid() > 0 {
		wrong[file], wrong[filepath.Join(locked, "x.log")] = "cannot be written: permission denied", "for its rotation: permission denied"
	}
	for path, want := range wrong {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) > 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	for range 2 {
		path := filepath.Join(dir, "x.log")
		if err := Check(path); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*log*")); len(left) > 1 {
			t.Errorf("%q", left)
		}
		os.WriteFile(path, nil, 0o600)
	}
}

func TestLinesAreNeverSplit(t *testing.T) {
	long := strings.Repeat("y", 3*piece) + "\n"
	text := strings.Repeat("a line\n", piece/7*2) + long + "end\n" + long + "no end"
	var back strings.Builder
	for rest := []byte(text); len(rest) > 0; {
		var part []byte
		part, rest = split(rest)
		if len(rest) > 0 && !strings.HasSuffix(string(part), "\n") || len(part) > piece && strings.Count(string(part), "\n") > 1 {
			t.Fatalf("a part of %d bytes", len(part))
		}
		back.Write(part)
	}
	if back.String() != text {
		t.Error("something is lost")
	}
}

// A file that is full and cannot have another name, here since that would be too
// long, goes on growing: no line is lost, and it is told once.
func TestAFullFileThatCannotBeTurnedOverGrows(t *testing.T) {
	path, errs := filepath.Join(t.TempDir(), strings.Repeat("x", 240)+".log"), new(told)
	f := New(path, 1<<20, 3, errs)
	defer f.Close()
	line := []byte(strings.Repeat("y", 99) + "\n")
	const count = 35_000 // 3.5 MB
	for i := range count {
		if n, err := f.Write(line); err != nil || n != len(line) {
			t.Fatalf("line %d: %d, %v", i, n, err)
		}
		if i%10_000 == 0 {
			f.turnOver, f.looked = time.Time{}, time.Time{} // as if time had passed
		}
	}
	errs.await(t, "cannot be turned over", 1)
	if got := len(lines(t, path)); got != count {
		t.Errorf("%d lines of %d", got, count)
	}
}

// Whoever empties the file in place finds the next lines at its beginning.
func TestTheFileMayBeEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	f := New(path, 1<<20, 3, new(told))
	defer f.Close()
	f.Write([]byte("before\n"))
	f.looked = time.Time{} // as if time had passed
	f.Write([]byte("before\n"))
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	f.looked = time.Time{}
	f.Write([]byte("after\n"))
	if got := lines(t, path); len(got) != 1 || got[0] != "after" {
		t.Errorf("%q", got)
	}
}
