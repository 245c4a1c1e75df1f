package envfile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
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
