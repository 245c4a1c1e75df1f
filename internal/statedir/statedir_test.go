package statedir

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// notes are lines that are kept.
type notes []string

func (n *notes) Load(line []byte) { *n = append(*n, string(line)) }

func (n *notes) Whole() []byte {
	if len(*n) == 0 {
		return nil
	}
	return []byte(strings.Join(*n, "\n") + "\n")
}

// add adds a line as users of a Journal do: to what is in memory, then to the
// file.
func (n *notes) add(j *Journal, line string) {
	*n = append(*n, line)
	j.Append([]byte(line + "\n"))
}

// kept opens root as the next process does, and returns what it finds.
func kept(t *testing.T, root string) []string {
	t.Helper()
	d := Open(root)
	defer d.Close()
	var found notes
	j := d.Journal("notes", &found)
	defer j.Close()
	if err := d.Fault(); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatIsKeptIsThereAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made", "when needed")
	d := Open(root)
	var n notes
	j := d.Journal("notes", &n)
	n.add(j, "one")
	n.add(j, "two")
	if !d.Seen().IsZero() {
		t.Error("seen before there was anybody")
	}
	// A process that is killed closes nothing: the system frees the lock.
	d.lock.Close()
	path := filepath.Join(root, "process-0", "notes.jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("tor") // and its last line may be half written
	f.Close()
	if err := os.WriteFile(filepath.Join(root, "process-0", ".notes.jsonl.7.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := Open(root)
	defer again.Close()
	var m notes
	k := again.Journal("notes", &m)
	if !slices.Equal(m, notes{"one", "two"}) || time.Since(again.Seen()) > time.Minute {
		t.Errorf("%q, seen %v", m, again.Seen())
	}
	m.add(k, "three")
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "one\ntwo\nthree\n" {
		t.Errorf("%q %v", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "process-0", ".*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// Of two processes on one directory, as in a rolling restart, neither destroys
// what the other keeps, and either can read it.
func TestTwoProcessesKeepSideBySide(t *testing.T) {
	root := t.TempDir()
	older, newer := Open(root), Open(root)
	var a, b notes
	ja, jb := older.Journal("notes", &a), newer.Journal("notes", &b)
	a.add(ja, "old")
	b.add(jb, "new")
	stamp := jb.Stamp()
	a = notes{"old, made anew"}
	ja.Renew()
	var seen notes
	jb.Others(nil, seen.Load)
	if !slices.Equal(seen, notes{"old, made anew"}) || jb.Stamp() == stamp {
		t.Errorf("the other's: %q", seen)
	}
	// One that lives forgets by itself; what a dead one has left is forgotten for it.
	jb.Forget(func([]byte) bool { return true })
	seen = nil
	if jb.Others(nil, seen.Load); len(seen) != 1 {
		t.Error("taken from a living process")
	}
	ja.Close()
	older.Close()
	jb.Forget(func(line []byte) bool { return strings.HasPrefix(string(line), "old") })
	if jb.Others(nil, seen.Load); len(seen) != 1 {
		t.Errorf("not forgotten: %q", seen)
	}
	third := Open(root)
	defer third.Close()
	if filepath.Base(third.place) != "process-0" {
		t.Errorf("the place that is free again is not taken: %s", third.place)
	}
	newer.Close()
	if found := kept(t, root); !slices.Equal(found, []string{"new"}) {
		t.Errorf("%q", found)
	}
}

// A directory that cannot be used costs nothing but what shall survive, and is
// used as soon as it can be.
func TestADirectoryThatCannotBeUsed(t *testing.T) {
	root := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(root, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	d := Open(root)
	defer d.Close()
	var n notes
	j := d.Journal("notes", &n)
	n.add(j, "one")
	if err := d.Fault(); err == nil || strings.Contains(err.Error(), root) {
		t.Errorf("fault: %v", err)
	}
	os.Remove(root)
	d.tried = time.Time{} // some seconds later
	n.add(j, "two")
	if err := d.Fault(); err != nil {
		t.Error(err)
	}
	// And one that is taken away is noticed. Windows takes away nothing that is
	// in use.
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	d.alive = time.Time{}
	d.Touch()
	if d.Fault() == nil {
		t.Error("nobody noticed")
	}
	d.tried = time.Time{}
	n.add(j, "three")
	d.Close()
	j.Close()
	if found := kept(t, root); !slices.Equal(found, []string{"one", "two", "three"}) {
		t.Errorf("%q", found)
	}
}

func TestNothingIsKeptWithoutADirectory(t *testing.T) {
	d := Open("")
	defer d.Close()
	var n notes
	j := d.Journal("notes", &n)
	n.add(j, "one")
	j.Renew()
	j.Forget(func([]byte) bool { return true })
	d.Touch()
	if d.Fault() != nil || d.Kept() || j.Stamp() != "" {
		t.Error(d.Fault())
	}
}

// The file is made anew before it is much larger than what it has to hold.
func TestAFileIsBounded(t *testing.T) {
	root := t.TempDir()
	d := Open(root)
	var last notes
	j := d.Journal("notes", &last)
	line := strings.Repeat("x", 1023)
	for range 5000 {
		last = notes{line}
		j.Append([]byte(line + "\n"))
	}
	info, err := os.Stat(filepath.Join(root, "process-0", "notes.jsonl"))
	if err != nil || info.Size() > smallest {
		t.Errorf("%v %v", info.Size(), err)
	}
	d.Close()
	j.Close()
	if found := kept(t, root); len(found) == 0 || found[len(found)-1] != line {
		t.Error("the last line is lost")
	}
}

// What a process adds while another one forgets, and before it ends, is not
// lost: nobody writes a place anew by what it held before it was free.
func TestForgettingLosesNothingThatIsAddedMeanwhile(t *testing.T) {
	root := t.TempDir()
	here, there := Open(root), Open(root)
	defer here.Close()
	var n, m notes
	j, k := here.Journal("notes", &n), there.Journal("notes", &m)
	m.add(k, "gone")
	ends := func() {
		m.add(k, "late")
		k.Close()
		there.Close()
	}
	once := sync.OnceFunc(ends)
	forget := func(line []byte) bool {
		once() // in the middle of it
		return string(line) == "gone"
	}
	j.Forget(forget)
	once()
	j.Forget(forget)
	text, err := os.ReadFile(filepath.Join(root, "process-1", "notes.jsonl"))
	if err != nil || string(text) != "late\n" {
		t.Errorf("%q, %v", text, err)
	}
}
