package envfile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// scan looks and reads what is due at once.
func scan(t *testing.T, d *dir) string {
	t.Helper()
	gone, err := d.look(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	changed, _ := d.settled(time.Now(), 0, 1e6)
	return inWords(append(gone, changed...))
}

func inWords(files []file) string {
	var text string
	for _, f := range files {
		switch {
		case f.gone && f.err != nil:
			text += "-!" + f.name + " "
		case f.gone:
			text += "-" + f.name + " "
		case f.err != nil:
			text += "!" + f.name + " "
		default:
			text += f.name + "=" + f.values["A"] + " "
		}
	}
	return text
}

func TestScanReportsChangesOnly(t *testing.T) {
	path := t.TempDir()
	d, err := newDir(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, "One.env", "A=1")
	put(t, path, "two.env", "A=2")
	if got := scan(t, d); got != "one=1 two=2 " {
		t.Errorf("first scan %q", got)
	}
	if got := scan(t, d); got != "" {
		t.Errorf("nothing changed, but %q", got)
	}
	// The same length and time stamp: only the content tells.
	info, _ := os.Stat(filepath.Join(path, "two.env"))
	put(t, path, "two.env", "A=9")
	os.Chtimes(filepath.Join(path, "two.env"), info.ModTime(), info.ModTime())
	os.Remove(filepath.Join(path, "One.env"))
	if got := scan(t, d); got != "-one two=9 " {
		t.Errorf("second scan %q", got)
	}
	put(t, path, "two.env", "broken")
	if got := scan(t, d); got != "!two " {
		t.Errorf("third scan %q", got)
	}
	// Another file with the same content, as a mount makes it, is no change.
	os.Remove(filepath.Join(path, "two.env"))
	put(t, path, "two.env", "broken")
	if got := scan(t, d); got != "" {
		t.Errorf("the same again, but %q", got)
	}
}

func TestAMountThatLiesAboutTimesIsReadAgain(t *testing.T) {
	path := t.TempDir()
	put(t, path, "one.env", "A=1")
	d, _ := newDir(path)
	scan(t, d)
	put(t, path, "one.env", "A=2")
	info, _ := os.Stat(filepath.Join(path, "one.env"))
	d.files["one"].stamp = stampOf(info) // as if nothing had changed
	if got := scan(t, d); got != "" {
		t.Errorf("the test shows nothing: %q", got)
	}
	later := time.Now().Add(rereadAfter + time.Second)
	d.look(later)
	if changed, _ := d.settled(later, settle, batch); inWords(changed) != "one=2 " {
		t.Errorf("got %q", inWords(changed))
	}
}

func TestScanOfAnUnreadableDirectoryReportsNothingGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants")
	os.Mkdir(path, 0o700)
	put(t, path, "one.env", "A=1")
	d, err := newDir(path)
	if err != nil {
		t.Fatal(err)
	}
	scan(t, d)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if gone, err := d.look(time.Now()); err == nil || gone != nil {
		t.Errorf("gone %v, error %v", gone, err)
	}
	os.Rename(path+".away", path)
	if got := scan(t, d); got != "" {
		t.Errorf("back again, but %q", got)
	}
}

func TestNamesAsWindowsWritesThem(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{
		"desktop.ini", "Thumbs.db", "contoso.env~", ".contoso.env.swp", "contoso.env.bak", ".contoso.env.123.tmp", "~$contoso.env",
		"#contoso.env#", ".#contoso.env", "readme.txt", ".env", "Contoso.ENV", "notes.env.txt", "copy - contoso.env",
		"Twice.env", "twice.env", "ALSO.env", "Also.env",
	} {
		put(t, path, name, "A="+strings.TrimSpace(name))
	}
	os.Mkdir(filepath.Join(path, "sub.env"), 0o700)
	d, _ := newDir(path)
	const want = "-!sub !Also.env !Twice.env also=ALSO.env contoso=Contoso.ENV copy - contoso=copy - contoso.env !notes.env.txt twice=twice.env "
	if got := scan(t, d); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// A tenant whose file gets a second suffix is gone, and told.
	os.Rename(filepath.Join(path, "Contoso.ENV"), filepath.Join(path, "contoso.env.txt"))
	if got := scan(t, d); got != "-contoso !contoso.env.txt " {
		t.Errorf("got %q", got)
	}
	// What was passed over is there when the other goes.
	os.Remove(filepath.Join(path, "twice.env"))
	if got := scan(t, d); got != "-Twice.env twice=Twice.env " {
		t.Errorf("got %q", got)
	}
}

func TestAFileThatCannotBeReadIsAFaultOfItsOwn(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root reads everything: a link in a circle stands for a locked file")
	}
	path := t.TempDir()
	put(t, path, "good.env", "A=1")
	if err := os.Symlink("locked.env", filepath.Join(path, "locked.env")); err != nil {
		needs.Missing(t, "no symbolic links here")
	}
	d, _ := newDir(path)
	if got := scan(t, d); got != "good=1 !locked " {
		t.Errorf("got %q", got)
	}
	os.Remove(filepath.Join(path, "locked.env"))
	put(t, path, "locked.env", "A=2")
	if got := scan(t, d); got != "locked=2 " {
		t.Errorf("got %q", got)
	}
}

// What stands where a file should is told, and once; whoever had the name is
// gone, and comes back with a file.
func TestALinkThatLeadsNowhereAndADirectoryAreTold(t *testing.T) {
	path, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	os.Mkdir(filepath.Join(path, "folder.env"), 0o700)
	os.Mkdir(filepath.Join(path, ".hidden.env"), 0o700)
	put(t, path, "Twice.env", "A=1")
	os.Mkdir(filepath.Join(path, "twice.env"), 0o700)
	if err := os.Symlink(target, filepath.Join(path, "link.env")); err != nil {
		needs.Missing(t, "no symbolic links here")
	}
	d, _ := newDir(path)
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "-!folder -!link twice=1 "},
		{func() {}, ""},
		{func() { os.WriteFile(target, []byte("A=2"), 0o600) }, "link=2 "},
		{func() { os.Remove(target); scan(t, d) }, "-!link "}, // the second look tells it from one that is being replaced
		{func() {}, ""},
		{func() { os.Remove(filepath.Join(path, "link.env")) }, "-link "},
		{func() { os.Remove(filepath.Join(path, "folder.env")); put(t, path, "folder.env", "A=3") }, "folder=3 "},
	} {
		step.do()
		if got := scan(t, d); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

// writer changes one file the way that editors, shells and copiers do. Each
// call of the next step leaves the file as a reader may find it.
func writer(t *testing.T, path, to string, random *rand.Rand) []func() {
	write := func(flag int, text string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(text)
		f.Close()
	}
	var steps []func()
	inPieces := func() {
		for left := to; left != ""; {
			n := 1 + random.IntN(len(left))
			piece := left[:n]
			steps = append(steps, func() { write(os.O_APPEND, piece) })
			left = left[n:]
		}
	}
	switch random.IntN(4) {
	case 0: // shells: >, and then piece by piece
		steps = append(steps, func() { write(os.O_TRUNC, "") })
		inPieces()
	case 1: // editors: away, and anew
		steps = append(steps, func() { os.Remove(path) })
		inPieces()
	case 2: // written beside it and renamed
		steps = append(steps, func() {
			os.WriteFile(path+".tmp", []byte(to), 0o600)
			os.Rename(path+".tmp", path)
		})
	case 3: // in place, and cut to length last
		steps = append(steps, func() { write(0, to[:len(to)/2]) }, func() { write(0, to) }, func() { os.Truncate(path, int64(len(to))) })
	}
	return steps
}

// However a file is written and whenever it is looked at, what takes effect is
// what it held before or what it holds after, whole.
func TestNoHalfWrittenFileTakesEffect(t *testing.T) {
	states := []string{
		"A=webform\nREAD_ONLY=true\nTENANTS=contoso\n", "A=webform\nTENANTS=contoso,fabrikam\nREAD_ONLY=true\nMETHODS=GET\n",
		"A=webform\n", "READ_ONLY=true\nA=webform\n",
	}
	parsed := make([]map[string]string, len(states))
	for i, s := range states {
		parsed[i], _ = Parse([]byte(s))
	}
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 1))
		path := t.TempDir()
		d, _ := newDir(path)
		clock := time.Now()
		put(t, path, "x.env", states[0])
		d.look(clock)
		d.settled(clock, 0, batch)
		effective, before := parsed[0], parsed[0]
		for range 6 {
			to := random.IntN(len(states))
			for _, step := range writer(t, filepath.Join(path, "x.env"), states[to], random) {
				step()
				for range random.IntN(3) { // looks come at any time; a writer pauses for less than settle
					clock = clock.Add(time.Duration(random.IntN(int(settle / 4))))
					effective = advance(t, d, clock, effective)
					if effective != nil && !maps.Equal(effective, before) && !maps.Equal(effective, parsed[to]) {
						t.Fatalf("seed %d: %v is in effect, between %v and %v", seed, effective, before, parsed[to])
					}
				}
			}
			effective = advance(t, d, clock.Add(time.Millisecond), effective)
			clock = clock.Add(settle + 2*time.Millisecond)
			if effective = advance(t, d, clock, effective); !maps.Equal(effective, parsed[to]) {
				t.Fatalf("seed %d: %v is in effect, not %v", seed, effective, parsed[to])
			}
			before = parsed[to]
		}
	}
}

// advance returns what is in effect after a look at a moment; nil for nothing.
func advance(t *testing.T, d *dir, now time.Time, effective map[string]string) map[string]string {
	t.Helper()
	gone, err := d.look(now)
	if err != nil {
		t.Fatal(err)
	}
	if len(gone) > 0 {
		effective = nil
	}
	changed, _ := d.settled(now, settle, batch)
	for _, f := range changed {
		if f.err == nil {
			effective = f.values
		}
	}
	return effective
}

// Ten thousand changed files are read once each, and a removal is known before
// any of them is.
func TestManyChangesCostOneReadEachAndARemovalWaitsForNone(t *testing.T) {
	const files = 10_000
	path := t.TempDir()
	for i := range files {
		put(t, path, fmt.Sprintf("t%d.env", i), "A=1")
	}
	d, _ := newDir(path)
	clock := time.Now()
	d.look(clock)
	d.settled(clock, 0, files)
	if d.reads != files {
		t.Fatalf("%d reads at the start", d.reads)
	}
	for i := range files {
		put(t, path, fmt.Sprintf("t%d.env", i), "A=22")
	}
	os.Remove(filepath.Join(path, "t7.env"))
	d.reads = 0
	gone, err := d.look(clock.Add(time.Millisecond))
	if err != nil || inWords(gone) != "-t7 " || d.reads != 0 {
		t.Errorf("gone %q after %d reads, %v", inWords(gone), d.reads, err)
	}
	clock = clock.Add(settle + time.Second)
	var rounds, changed int
	for again := time.Duration(0); again == 0; rounds++ {
		var some []file
		some, again = d.settled(clock, settle, batch)
		changed += len(some)
		if len(some) > batch {
			t.Fatalf("%d in one round", len(some))
		}
		if rounds == 3 {
			os.Remove(filepath.Join(path, "t9.env"))
			if gone, _ := d.look(clock); inWords(gone) != "-t9 " {
				t.Errorf("amid the reading: gone %q", inWords(gone))
			}
		}
	}
	if changed < files-2 || d.reads > files {
		t.Errorf("%d changes with %d reads in %d rounds", changed, d.reads, rounds)
	}
	d.reads = 0
	d.look(clock.Add(time.Second))
	d.settled(clock.Add(time.Second), settle, files)
	if d.reads != 0 {
		t.Errorf("%d reads though nothing changed", d.reads)
	}
}

func TestSpellingsAreWrittenFirstAndRemovedThen(t *testing.T) {
	path := t.TempDir()
	put(t, path, "Contoso.env", "A=1")
	put(t, path, "CONTOSO.ENV", "A=2")
	keys := []string{"A"}
	if err := Create(path, "contoso", keys, map[string]string{"A": "3"}); err == nil {
		t.Error("created though there")
	}
	// What cannot be written leaves everything as it was.
	if err := Replace(path, "contoso", keys, map[string]string{"A": "x\ny"}); err == nil || len(list(t, path)) != 2 {
		t.Errorf("%v, left %v", err, list(t, path))
	}
	if err := Replace(path, "contoso", keys, map[string]string{"A": "3"}); err != nil || !slices.Equal(list(t, path), []string{"contoso.env"}) {
		t.Errorf("%v, left %v", err, list(t, path))
	}
	// A crash between the two leaves the new one in force.
	put(t, path, "Contoso.env", "A=1")
	d, _ := newDir(path)
	if got := scan(t, d); got != "!Contoso.env contoso=3 " {
		t.Errorf("after a crash %q", got)
	}
	if values, err := Load(path, "CONTOSO"); err != nil || values["A"] != "3" {
		t.Errorf("loaded %v, %v", values, err)
	}
	if err := Remove(path, "Contoso"); err != nil || len(list(t, path)) != 0 {
		t.Errorf("%v, left %v", err, list(t, path))
	}
	if err := Remove(path, "contoso"); err != ErrNoFile {
		t.Errorf("removed twice: %v", err)
	}
}

func list(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What changes between a look and the reading is left until it has stood.
func TestAFileThatChangesBehindALookIsLeft(t *testing.T) {
	path := t.TempDir()
	put(t, path, "one.env", "A=1")
	d, _ := newDir(path)
	clock := time.Now()
	d.look(clock)
	put(t, path, "one.env", "A=1\nB=half")
	clock = clock.Add(settle + time.Second)
	if early, again := d.settled(clock, settle, batch); len(early) > 0 || again != settle {
		t.Errorf("%q is in effect; asked for again in %v", inWords(early), again)
	}
	put(t, path, "one.env", "A=1\nB=half\nC=whole")
	d.look(clock.Add(time.Millisecond))
	if whole, _ := d.settled(clock.Add(time.Millisecond+settle), settle, batch); len(whole) != 1 || whole[0].values["C"] != "whole" {
		t.Errorf("then %q", inWords(whole))
	}
}
