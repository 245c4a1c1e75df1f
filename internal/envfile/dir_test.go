package envfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/envfile"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func scan(t *testing.T, d *envfile.Dir) string {
	t.Helper()
	files, err := d.Scan()
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for _, f := range files {
		switch {
		case f.Gone:
			text += "-" + f.Name + " "
		case f.Err != nil:
			text += "!" + f.Name + " "
		default:
			text += f.Name + "=" + f.Values["A"] + " "
		}
	}
	return text
}

func TestScanReportsChangesOnly(t *testing.T) {
	dir := t.TempDir()
	d, err := envfile.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "One.env", "A=1")
	put(t, dir, "two.env", "A=2")
	put(t, dir, "readme.txt", "A=3")
	put(t, dir, ".one.env", "A=4")
	put(t, dir, "one.env~", "A=5")
	os.Mkdir(filepath.Join(dir, "sub.env"), 0o700)
	if got := scan(t, d); got != "one=1 two=2 " {
		t.Errorf("first scan %q", got)
	}
	if got := scan(t, d); got != "" {
		t.Errorf("nothing changed, but %q", got)
	}
	// The same length and time stamp: only the content tells.
	info, _ := os.Stat(filepath.Join(dir, "two.env"))
	put(t, dir, "two.env", "A=9")
	os.Chtimes(filepath.Join(dir, "two.env"), info.ModTime(), info.ModTime())
	os.Remove(filepath.Join(dir, "One.env"))
	if got := scan(t, d); got != "-one two=9 " {
		t.Errorf("second scan %q", got)
	}
	put(t, dir, "two.env", "broken")
	if got := scan(t, d); got != "!two " {
		t.Errorf("third scan %q", got)
	}
	d.Forget("two")
	if got := scan(t, d); got != "!two " {
		t.Errorf("after Forget %q", got)
	}
}

func TestScanOfAnUnreadableDirectoryReportsNothingGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tenants")
	os.Mkdir(dir, 0o700)
	put(t, dir, "one.env", "A=1")
	d, err := envfile.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	scan(t, d)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if files, err := d.Scan(); err == nil || files != nil {
		t.Errorf("files %v, error %v", files, err)
	}
	os.Rename(dir+".away", dir)
	if got := scan(t, d); got != "" {
		t.Errorf("back again, but %q", got)
	}
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	values := map[string]string{"A": `"quoted"`, "B": "plain"}
	if err := envfile.Write(dir, "one", []string{"B", "A", "C"}, values); err != nil {
		t.Fatal(err)
	}
	got, err := envfile.Read(filepath.Join(dir, "one.env"))
	if err != nil || got["A"] != `"quoted"` || got["B"] != "plain" || len(got) != 2 {
		t.Errorf("read back %q, %v", got, err)
	}
	if err := envfile.Write(dir, "one", []string{"A"}, map[string]string{"A": "x\ny"}); err == nil {
		t.Error("a line break was written")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	info, _ := entries[0].Info()
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// Readers never see a file half written, however often it is replaced.
func TestWriteUnderReaders(t *testing.T) {
	dir := t.TempDir()
	values := func(n int) map[string]string {
		return map[string]string{"A": fmt.Sprint(n), "B": fmt.Sprint(n)}
	}
	envfile.Write(dir, "one", []string{"A", "B"}, values(0))
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 200 {
			if err := envfile.Write(dir, "one", []string{"A", "B"}, values(n)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 200 {
				got, err := envfile.Read(filepath.Join(dir, "one.env"))
				if err != nil || got["A"] != got["B"] {
					t.Errorf("read %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWatchSeesEveryWayOfReplacing(t *testing.T) {
	dir := t.TempDir()
	d, err := envfile.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan envfile.File, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		d.Watch(ctx, func(files []envfile.File) {
			for _, f := range files {
				seen <- f
			}
		}, func(err error) { t.Error(err) })
	})
	defer wg.Wait()
	defer cancel()
	await := func(what string, ok func(envfile.File) bool) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case f := <-seen:
				if ok(f) {
					return
				}
			case <-deadline:
				t.Fatalf("%s was not seen", what)
			}
		}
	}
	is := func(a string) func(envfile.File) bool {
		return func(f envfile.File) bool { return f.Name == "one" && f.Values["A"] == a }
	}

	put(t, dir, "one.env", "A=1")
	await("a new file", is("1"))
	put(t, dir, "one.env", "A=2")
	await("a file written in place", is("2"))
	envfile.Write(dir, "one", []string{"A"}, map[string]string{"A": "3"})
	await("a file renamed into place", is("3"))
	os.Remove(filepath.Join(dir, "one.env"))
	put(t, dir, "target", "A=4")
	if err := os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "one.env")); err == nil {
		await("a symbolic link", is("4"))
		put(t, dir, "target", "A=5")
		await("a change behind a symbolic link", is("5"))
	}
	os.Remove(filepath.Join(dir, "one.env"))
	await("a removed file", func(f envfile.File) bool { return f.Gone })
}
