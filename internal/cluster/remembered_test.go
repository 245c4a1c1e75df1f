package cluster

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/secret"
)

// Who starts without Redis knows how many there were; a record that is broken,
// or of another version, is none.
func TestAStartWithoutRedisKnowsHowManyThereWere(t *testing.T) {
	t.Parallel()
	server, dir := redistest.Start(t), t.TempDir()
	open := func(file string) *Client {
		c, err := Open(Options{URL: secret.New(server.URL()), Prefix: "dynproxy", Log: zerolog.Nop(), Remember: file})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		c.Join(t.Context())
		return c
	}
	file := filepath.Join(dir, "members.json")
	first := open(file)
	for range 2 {
		open("")
	}
	if err := first.beat(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := first.Keep(); err != nil || first.Size() != 3 {
		t.Fatal(first.Size(), err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	later := filepath.Join(dir, "later", "members.json")
	second := open(later)
	if second.Keep() == nil {
		t.Error("it was kept in a folder that is not there")
	}
	if err := os.Mkdir(filepath.Dir(later), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := second.Keep(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(later); err != nil {
		t.Error(err)
	}
	server.Kill()
	if c := open(file); c.Size() != 3 || c.State().State != Alone || c.Keep() != nil || len(c.Members()) != 1 {
		t.Errorf("%d members, %+v", c.Size(), c.State())
	}
	if now, _ := os.ReadFile(file); string(now) != string(written) {
		t.Errorf("alone it has written %s", now)
	}
	for name, content := range map[string]string{
		"torn": `{"v":1,"mem`, "empty": "", "of a later version": `{"v":2,"members":3}`, "of none": `{"v":1,"members":0}`,
		"of too many": `{"v":1,"members":1000000}`, "no number": `{"v":1,"members":"3"}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := open(path).Size(); n != 1 {
			t.Errorf("%s: %d members", name, n)
		}
	}
	if n := open(filepath.Join(dir, "none")).Size(); n != 1 {
		t.Errorf("without a record %d members", n)
	}
}

// More members count at once, fewer when it has lasted.
func TestAnUpgradeIsNoSmallerFleet(t *testing.T) {
	r, now := new(remembered), time.Now()
	for _, step := range []struct {
		after   time.Duration
		members int
		kept    bool
		size    int
	}{
		{0, 1, true, 1}, {0, 3, true, 3}, {time.Minute, 3, false, 3}, {time.Minute, 2, false, 3}, {time.Minute, 1, false, 3}, {time.Minute, 3, false, 3},
		{2 * time.Hour, 2, false, 3}, {59 * time.Minute, 1, false, 3}, {2 * time.Minute, 2, true, 2}, {time.Hour, 1, false, 2},
	} {
		now = now.Add(step.after)
		if kept := r.note(step.members, now); kept != step.kept || r.size() != step.size {
			t.Errorf("%+v: kept %v, %d members", step, kept, r.size())
		}
	}
}
