package textfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Another program that holds a file for a moment delays a write and does not
// lose it; what is read meanwhile is there when it lets go.
func TestAFileThatIsHeldForAMomentIsWritten(t *testing.T) {
	path := filepath.Join(folder(t), "held")
	if err := Replace(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(path) // which lets nobody delete or replace it
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { held.Close() })
	if err := Replace(path, []byte("new")); err != nil {
		t.Error(err)
	}
	if got, err := Read(path); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
}

// What we read ourselves is in nobody's way.
func TestAFileThatIsReadMayBeReplaced(t *testing.T) {
	path := filepath.Join(folder(t), "read")
	if err := Replace(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	reading, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Errorf("moved: %v", err)
	}
	os.Rename(path+".moved", path)
	if err := renameOverOpen(path, path+".probe"); err != nil {
		t.Logf("this system cannot rename over open files: %v", err)
		return
	}
	os.Rename(path+".probe", path)
	if err := Replace(path, []byte("new")); err != nil {
		t.Errorf("replaced: %v", err)
	}
}
