package envfile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/needs"
)

type thing struct{ name, a, holds string }

func readThing(name string, values map[string]string) (*thing, error) {
	if values["A"] == "" {
		return nil, Faults{{"A", "is missing"}}
	}
	return &thing{name, values["A"], values["HOLDS"]}, nil
}

func claimsOfThing(t *thing) []Claim {
	var claims []Claim
	for key := range strings.FieldsFuncSeq(t.holds, func(r rune) bool { return r == ',' }) {
		claims = append(claims, Claim{key, "HOLDS", key})
	}
	return claims
}

func openThings(t *testing.T, path string, fixed ...string) *Registry[thing] {
	t.Helper()
	spec := Spec[thing]{Kind: "thing", Read: readThing, Claims: claimsOfThing, FixedBy: "THINGS", Fixed: make(map[string]*thing)}
	for _, name := range fixed {
		spec.Fixed[name] = &thing{name: name, a: "fixed"}
	}
	r, err := OpenRegistry(path, spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// step brings what the directory holds into r at once.
func step(t *testing.T, r *Registry[thing]) []Change[thing] {
	t.Helper()
	changes, err := r.Refresh()
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func faulty(r *Registry[thing]) string {
	return strings.Join(slices.Sorted(maps.Keys(r.Faults())), " ")
}

func TestAWrongFileHarmsNobodyElse(t *testing.T) {
	path := t.TempDir()
	put(t, path, "good.env", "A=1")
	put(t, path, "broken.env", "A")
	put(t, path, "listed.env", "A=1")
	r := openThings(t, path, "listed")
	if faulty(r) != "broken listed" || r.Len() != 2 || r.Lookup("LISTED").a != "fixed" || r.Lookup("Good").a != "1" {
		t.Errorf("faults %v", r.Faults())
	}
	put(t, path, "good.env", "A=")
	if changes := step(t, r); len(changes) != 1 || changes[0].Fault == nil || r.Lookup("good").a != "1" || faulty(r) != "broken good listed" {
		t.Errorf("what turns wrong stays as it was: %v, faults %v", changes, r.Faults())
	}
	put(t, path, "good.env", "A=2")
	changes := step(t, r)
	if len(changes) != 1 || changes[0].Old.a != "1" || changes[0].New.a != "2" || faulty(r) != "broken listed" {
		t.Errorf("%v, faults %v", changes, r.Faults())
	}
	// A fault goes with its file; what is fixed stays.
	for _, name := range []string{"broken", "listed", "good"} {
		os.Remove(filepath.Join(path, name+".env"))
	}
	if changes := step(t, r); len(changes) != 1 || changes[0].New != nil || changes[0].Old.a != "2" || faulty(r) != "" || r.Len() != 1 {
		t.Errorf("%v, faults %v", changes, r.Faults())
	}
}

func TestClaimsAreHandedOnAndExchangedInAnyOrder(t *testing.T) {
	path := t.TempDir()
	holders := func(r *Registry[thing]) string {
		var text string
		for _, key := range []string{"p", "q"} {
			if h := r.Holder(key); h != nil {
				text += key + "=" + h.name + " "
			}
		}
		return text
	}
	put(t, path, "a.env", "A=1\nHOLDS=p")
	put(t, path, "b.env", "A=1\nHOLDS=q")
	put(t, path, "c.env", "A=1\nHOLDS=q,p")
	r := openThings(t, path)
	if holders(r) != "p=a q=b " || faulty(r) != "c" || !strings.Contains(r.Faults()["c"].Error(), "belongs to thing") {
		t.Errorf("%s, faults %v", holders(r), r.Faults())
	}
	if again := step(t, r); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	// One after the other: after the first step the two stand in each other's way.
	put(t, path, "a.env", "A=2\nHOLDS=q")
	step(t, r)
	if holders(r) != "p=a q=b " || faulty(r) != "a c" {
		t.Errorf("%s, faults %v", holders(r), r.Faults())
	}
	put(t, path, "b.env", "A=2\nHOLDS=p")
	step(t, r)
	if holders(r) != "p=b q=a " || faulty(r) != "c" {
		t.Errorf("exchanged: %s, faults %v", holders(r), r.Faults())
	}
	os.Remove(filepath.Join(path, "a.env"))
	step(t, r)
	if holders(r) != "p=b " || faulty(r) != "c" {
		t.Errorf("%s, faults %v", holders(r), r.Faults())
	}
	put(t, path, "b.env", "A=3")
	if step(t, r); holders(r) != "p=c q=c " || faulty(r) != "" {
		t.Errorf("handed on: %s, faults %v", holders(r), r.Faults())
	}
	// One that waits and goes takes its fault along.
	put(t, path, "d.env", "A=1\nHOLDS=p")
	step(t, r)
	os.Remove(filepath.Join(path, "d.env"))
	if step(t, r); faulty(r) != "" || r.Lookup("d") != nil {
		t.Errorf("faults %v", r.Faults())
	}
}

// watching runs Watch until the test ends.
type watching struct {
	r         *Registry[thing]
	mu        sync.Mutex // guards what follows
	changes   []Change[thing]
	directory []error
}

func watch(t *testing.T, r *Registry[thing]) *watching {
	w := &watching{r: r}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		r.Watch(ctx, func(changes []Change[thing]) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, changes...)
		}, func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.directory = append(w.directory, err)
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s was not seen", what)
		}
	}
}

func TestWatchSeesEveryWayOfReplacing(t *testing.T) {
	path := t.TempDir()
	r := openThings(t, path)
	watch(t, r)
	is := func(a string) func() bool {
		return func() bool { one := r.Lookup("one"); return one == nil && a == "" || one != nil && one.a == a }
	}
	put(t, path, "one.env", "A=1")
	await(t, "a new file", is("1"))
	put(t, path, "one.env", "A=2")
	await(t, "a file written in place", is("2"))
	Replace(path, "one", []string{"A"}, map[string]string{"A": "3"})
	await(t, "a file renamed into place", is("3"))
	os.Remove(filepath.Join(path, "one.env"))
	await(t, "a removed file", is(""))
	put(t, path, "target", "A=4")
	if err := os.Symlink(filepath.Join(path, "target"), filepath.Join(path, "one.env")); err == nil {
		await(t, "a symbolic link", is("4"))
		put(t, path, "target", "A=5")
		await(t, "a change behind a symbolic link", is("5"))
	}
}

func TestADirectoryThatIsReplacedIsWatchedAgain(t *testing.T) {
	top := t.TempDir()
	version := func(name, a string) string {
		path := filepath.Join(top, name)
		os.Mkdir(path, 0o700)
		put(t, path, "one.env", "A="+a)
		return path
	}
	first, second, third := version("v1", "1"), version("v2", "2"), version("v3", "3")
	path := filepath.Join(top, "things")
	if err := os.Symlink(first, path); err != nil {
		needs.Missing(t, "no symbolic links here")
	}
	r := openThings(t, path)
	w := watch(t, r)
	is := func(a string) func() bool { return func() bool { return r.Lookup("one").a == a } }

	// As Kubernetes switches a volume: a new link is renamed over the old one.
	os.Symlink(second, path+".new")
	os.Rename(path+".new", path)
	await(t, "the switched link", is("2"))
	put(t, second, "one.env", "A=22")
	await(t, "a change in the new directory", is("22"))

	// Away for a while, and another in its place.
	os.Remove(path)
	await(t, "the missing directory", func() bool { return r.DirectoryFault() != nil })
	if r.Lookup("one") == nil || len(r.Faults()) != 0 {
		t.Errorf("a directory's fault is nobody else's: %v", r.Faults())
	}
	os.Rename(third, path)
	await(t, "the directory that came", is("3"))
	put(t, path, "one.env", "A=33")
	await(t, "a change in it", is("33"))
	if r.DirectoryFault() != nil {
		t.Errorf("the fault stays: %v", r.DirectoryFault())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.directory) != 2 || !errors.Is(w.directory[0], os.ErrNotExist) || w.directory[1] != nil {
		t.Errorf("told %v", w.directory)
	}
	for _, c := range w.changes {
		if c.Name == "" || c.New == nil {
			t.Errorf("a change of nobody, or a removal: %+v", c)
		}
	}
}

// The removal is told before any of the many changes that happened before it.
func TestARemovalIsToldFirst(t *testing.T) {
	path := t.TempDir()
	const files = 3 * batch
	for i := range files {
		put(t, path, fmt.Sprintf("t%d.env", i), "A=1")
	}
	r := openThings(t, path)
	for i := range files {
		put(t, path, fmt.Sprintf("t%d.env", i), "A=2")
	}
	os.Remove(filepath.Join(path, "t9.env"))
	w := watch(t, r)
	await(t, "every change", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.changes) == files
	})
	if c := w.changes[0]; c.Name != "t9" || c.New != nil {
		t.Errorf("first %+v", c)
	}
	if r.Lookup("t8").a != "2" || r.Lookup("t9") != nil {
		t.Error("the registry shows another state")
	}
}

// A directory that is moved away and back all the time loses nobody.
func TestADirectoryInMotionLosesNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "things")
	os.Mkdir(path, 0o700)
	for i := range 300 {
		put(t, path, fmt.Sprintf("t%d.env", i), "A=1")
	}
	r := openThings(t, path)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				os.Rename(path, path+".away")
				os.Rename(path+".away", path)
			}
		}
	}()
	for range 300 {
		for _, c := range must(r.look(time.Now())) {
			t.Fatalf("lost %s", c.Name)
		}
	}
	close(stop)
	<-stopped
}

func must[T any](changes []Change[T], _ error) []Change[T] { return changes }

// Other rules reach every entry, at once and without a moment in which one is
// missing; what comes to the same stays the very entry it was.
func TestOtherRulesReachEveryEntry(t *testing.T) {
	path := t.TempDir()
	put(t, path, "own.env", "A=1")
	put(t, path, "bare.env", "A=")
	put(t, path, "listed.env", "A=7\nHOLDS=p")
	r := openThings(t, path, "listed", "former")
	own := r.Lookup("own")
	withDefault := func(value string) func(string, map[string]string) (*thing, error) {
		return func(name string, values map[string]string) (*thing, error) {
			if values["A"] == "" {
				values = map[string]string{"A": value}
			}
			return readThing(name, values)
		}
	}
	stop := make(chan struct{})
	var missed sync.WaitGroup
	missed.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r.Lookup("listed") == nil || r.Lookup("own") == nil {
				t.Error("for a moment one is missing")
				return
			}
		}
	})
	changes := r.Renew(withDefault("d"), map[string]*thing{"fresh": {name: "fresh", a: "new"}})
	if said := inChanges(changes); said != "former- listed- fresh+ bare+ listed+" {
		t.Errorf("changes %s", said)
	}
	if r.Lookup("own") != own || r.Lookup("bare").a != "d" || r.Lookup("listed").a != "7" || r.Holder("p") == nil || r.Lookup("former") != nil || faulty(r) != "" {
		t.Errorf("own %v, bare %v, listed %v, faults %v", r.Lookup("own"), r.Lookup("bare"), r.Lookup("listed"), r.Faults())
	}
	if again := r.Renew(withDefault("d"), map[string]*thing{"fresh": {name: "fresh", a: "new"}}); len(again) != 0 {
		t.Errorf("the same again changes %s", inChanges(again))
	}
	if said := inChanges(r.Renew(withDefault("e"), map[string]*thing{"fresh": {name: "fresh", a: "new"}, "listed": {name: "listed", a: "fixed"}})); said != "listed~ listed! bare~" {
		t.Errorf("changes %s", said)
	}
	close(stop)
	missed.Wait()
	// A file that goes after it was read anew is gone.
	os.Remove(filepath.Join(path, "own.env"))
	if said := inChanges(step(t, r)); said != "own-" {
		t.Errorf("changes %s", said)
	}
}

// inChanges is what changes say: + came, - went, ~ became another, ! a fault.
func inChanges(changes []Change[thing]) string {
	var said []string
	for _, c := range changes {
		switch {
		case c.Fault != nil:
			said = append(said, c.Name+"!")
		case c.New == nil:
			said = append(said, c.Name+"-")
		case c.Old == nil:
			said = append(said, c.Name+"+")
		default:
			said = append(said, c.Name+"~")
		}
	}
	return strings.Join(said, " ")
}

func TestWhoHasWrittenAFileHasItTakenAtOnce(t *testing.T) {
	path := t.TempDir()
	r := openThings(t, path)
	put(t, path, "mine.env", "A=1")
	put(t, path, "others.env", "A=") // half written, perhaps
	if changes, err := r.Take("mine"); err != nil || inChanges(changes) != "mine+" || faulty(r) != "" {
		t.Errorf("%v %v, faults %v", changes, err, r.Faults())
	}
	os.Remove(filepath.Join(path, "mine.env"))
	if changes, err := r.Take("mine"); err != nil || inChanges(changes) != "mine-" {
		t.Errorf("%v %v", changes, err)
	}
}

// Looks leave most of the time to others, and come soon enough for a removal
// to have its effect within a second, however long they take.
func TestLooksAreSeldomAndSoonEnough(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: lookShare * time.Millisecond, 40 * time.Millisecond: 400 * time.Millisecond,
		200 * time.Millisecond: longestBlind, 10 * time.Second: longestBlind,
	} {
		if got := rested(cost); got != want || got+rest >= time.Second {
			t.Errorf("%v after a look of %v, want %v", got, cost, want)
		}
	}
}

// What is being written while the directory is opened has no effect yet.
func TestAFileThatIsBeingWrittenAtTheStartIsLeft(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write := func(text string) {
			put(t, path, "one.env", text)
			os.Chtimes(filepath.Join(path, "one.env"), time.Time{}, time.Now())
		}
		write("A=half")
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() {
			time.Sleep(settleAtOpen / 2)
			write("A=whole")
		})
		if one := openThings(t, path).Lookup("one"); one != nil && one.a != "whole" {
			t.Errorf("%q is in effect", one.a)
		}
	})
}

// Events come from the directory that has the path, whichever that is.
func TestADirectoryInItsPlaceIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "things")
	os.Mkdir(path, 0o700)
	n := newNotifier(path)
	defer n.close()
	if n.events == nil {
		needs.Missing(t, "no notification here")
	}
	os.Rename(path, path+".old")
	os.Mkdir(path, 0o700)
	n.follow()
	for quiet := false; !quiet; { // until what happened so far has been told
		select {
		case <-n.woken:
		case <-time.After(time.Second):
			quiet = true
		}
	}
	put(t, path, "one.env", "A=1")
	began := time.Now()
	if n.wait(t.Context(), time.Minute); time.Since(began) > 30*time.Second {
		t.Error("nothing is heard of a change")
	}
}
