package consent

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Of many that make the key at the same time all get one.
func TestTheKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	keys := make(chan Key, 50)
	var makers sync.WaitGroup
	for range cap(keys) {
		makers.Go(func() {
			key, err := KeptKey(dir)
			if err != nil {
				t.Error(err)
			}
			keys <- key
		})
	}
	makers.Wait()
	first := <-keys
	for range cap(keys) - 1 {
		if next := <-keys; next != first || next == (Key{}) {
			t.Fatal("two keys")
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v %v", err, left)
	}
	if text, err := os.ReadFile(filepath.Join(dir, keyName)); err != nil || len(text) < 40 {
		t.Errorf("%d characters are kept: %v", len(text), err)
	}
}
