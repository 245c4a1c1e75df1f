package reload

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What changed is in use within a second, whichever of the files it is in; what
// is half copied is not loaded, and what cannot be used is told of once.
func TestChangedFilesAreLoadedOnce(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (string, error) {
		a, err := os.ReadFile(one)
		b, otherErr := os.ReadFile(two)
		if err = errors.Join(err, otherErr); err == nil && strings.Contains(string(a), "half") {
			err = errors.New("a half")
		}
		return string(a) + string(b), err
	}
	if _, err := Open(load, one, two); err == nil {
		t.Fatal("files that are not there were opened")
	}
	put(one, "a")
	put(two, "b")
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(load, one, two)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan error, 10)
		go f.Watch(ctx, func(err error) { told <- err })
		after := func(pause time.Duration, times int, want string) (last error) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if len(told) != times || f.Get() != want {
				t.Fatalf("told %d times, %q", len(told), f.Get())
			}
			for range times {
				last = <-told
			}
			return last
		}
		time.Sleep(lookEvery / 4) // no look falls into a write
		for _, half := range []string{"half", "half of it", "half of all"} {
			put(one, half)
			after(lookEvery/2, 0, "ab")
		}
		put(one, "A")
		if err := after(time.Second, 1, "Ab"); err != nil {
			t.Error(err)
		}
		put(two, "B")
		if err := after(time.Second, 1, "AB"); err != nil {
			t.Error(err)
		}
		put(one, "half")
		if err := after(time.Minute, 1, "AB"); err == nil {
			t.Error("a half is in use")
		}
		os.Remove(two)
		if err := after(time.Minute, 1, "AB"); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		put(one, "A")
		put(two, "B")
		if err := after(time.Minute, 1, "AB"); err != nil {
			t.Errorf("back again: %v", err)
		}
		after(time.Minute, 0, "AB")
	})
}
