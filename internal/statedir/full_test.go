//go:build unix

package statedir

import (
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// full lets no file grow beyond size, as a disk does that is full: the write
// that comes upon it is carried out by half.
func full(t *testing.T, size uint64) (room func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	room = func() { unix.Setrlimit(unix.RLIMIT_FSIZE, &was) }
	t.Cleanup(room)
	return room
}

func TestAFullDiskTearsNoLine(t *testing.T) {
	root := t.TempDir()
	d := Open(root)
	defer d.Close()
	var n notes
	j := d.Journal("notes", &n)
	n.add(j, "one")
	room := full(t, 10)
	n.add(j, "a line that does not fit")
	n.add(j, "two")
	if d.Fault() == nil {
		t.Error("nobody is told")
	}
	text, err := os.ReadFile(filepath.Join(root, "process-0", "notes.jsonl"))
	if err != nil || string(text) != "one\n" {
		t.Errorf("%q %v", text, err)
	}
	room()
	j.Append(nil)
	if err := d.Fault(); err != nil {
		t.Error(err)
	}
	text, err = os.ReadFile(filepath.Join(root, "process-0", "notes.jsonl"))
	if err != nil || !slices.Equal(strings.Fields(string(text)), strings.Fields("one\na line that does not fit\ntwo")) {
		t.Errorf("%q %v", text, err)
	}
}
