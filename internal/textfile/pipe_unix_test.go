//go:build unix

package textfile

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file of settings that is a pipe or a device never stops who reads it.
func TestAPipeThatNobodyWritesToIsAFault(t *testing.T) {
	t.Parallel()
	silent := pipe(t)
	go func() { // opens it, and has nothing to say
		if f, err := os.OpenFile(silent, os.O_WRONLY, 0); err == nil {
			defer f.Close()
			<-t.Context().Done()
		}
	}()
	for path, want := range map[string]string{pipe(t): "nobody writes", silent: "nothing came from it", "/dev/zero": "larger than"} {
		began := time.Now()
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), want) || time.Since(began) > 2*writerPatience {
			t.Errorf("%s: %v after %v", path, err, time.Since(began))
		}
	}
	if got, err := Read(os.DevNull); err != nil || len(got) > 0 {
		t.Errorf("a device that is empty: %q %v", got, err)
	}
}

// As a shell's <(...) hands it over: by parts, and begun late.
func TestAPipeIsReadToItsEnd(t *testing.T) {
	path := pipe(t)
	go func() {
		time.Sleep(openPatience / 2)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		io.WriteString(f, "first ")
		time.Sleep(openPatience / 2)
		io.WriteString(f, "second")
		f.Close()
	}()
	if got, err := Read(path); err != nil || string(got) != "first second" {
		t.Errorf("%q %v", got, err)
	}
}
