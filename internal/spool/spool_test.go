package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errDisk = errors.New("the disk failed")

// faulty is a disk that fails at its nth operation, and at all later ones. Of
// a write that fails, half reaches the disk.
type faulty struct {
	failAt int // 0 for never
	done   int
	silent bool // a write that fails says nothing, and is only short
	once   bool // it is well again behind the nth

	data []byte
	open int
}

func (d *faulty) step() bool {
	d.done++
	return d.failAt > 0 && (d.done == d.failAt || d.done > d.failAt && !d.once)
}

func (d *faulty) create() (File, error) {
	if d.step() {
		return nil, errDisk
	}
	d.open++
	d.data = nil
	return d, nil
}

func (d *faulty) WriteAt(p []byte, off int64) (int, error) {
	fails := d.step()
	if fails {
		p = p[:len(p)/2]
	}
	if end := int(off) + len(p); end > len(d.data) {
		d.data = append(d.data, make([]byte, end-len(d.data))...)
	}
	copy(d.data[off:], p)
	if fails && !d.silent {
		return len(p), errDisk
	}
	return len(p), nil
}

func (d *faulty) ReadAt(p []byte, off int64) (int, error) {
	if d.step() {
		return 0, errDisk
	}
	return bytes.NewReader(d.data).ReadAt(p, off)
}

func (d *faulty) Close() error { d.open--; return nil }

// Whatever fails, and whenever, what is held is the beginning of what was
// written, and what is not held was told.
func TestWhatIsHeldIsWhatWasWritten(t *testing.T) {
	const memory, each, room, window = 3000, 10_000, 8_000, 700
	cases := 0
	for _, size := range around(0, window, memory, memory+window, room, each, each+window) {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		for failAt := range 40 {
			for _, way := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
				for _, all := range []int64{0, room} {
					cases++
					disk := &faulty{failAt: failAt, silent: way[0], once: way[1]}
					place := &Place{Memory: memory, Each: each, Max: all, Open: disk.create}
					name := fmt.Sprintf("%d bytes, room for %d, failing at %d, silent %v, once %v", size, all, failAt, disk.silent, disk.once)
					checkSpool(t, name, place, content, window)
					if disk.open != 0 || place.onDisk.used.Load() != 0 || place.inMemory.used.Load() != 0 {
						t.Fatalf("%s: %d files, %d bytes of disk and %d of memory were not given back", name, disk.open, place.onDisk.used.Load(), place.inMemory.used.Load())
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

func around(bounds ...int) (sizes []int) {
	for _, b := range bounds {
		for d := -2; d <= 2; d++ {
			if b+d >= 0 {
				sizes = append(sizes, b+d)
			}
		}
	}
	return sizes
}

func checkSpool(t *testing.T, name string, place *Place, content []byte, window int) {
	t.Helper()
	s := place.Spool()
	defer s.Close()
	accepted := 0
	for accepted < len(content) {
		piece := content[accepted:min(len(content), accepted+window)]
		n, err := s.Write(piece)
		if err == nil && n == len(piece) {
			accepted += n
			continue
		}
		_, fault := errors.AsType[*Fault](err)
		_, large := errors.AsType[*TooLarge](err)
		if n != 0 || !fault && !large {
			t.Fatalf("%s: wrote %d, %v", name, n, err)
		}
		if int64(len(content)) <= place.Each && large {
			t.Fatalf("%s: too large", name)
		}
		break
	}
	if s.Size() != int64(accepted) {
		t.Fatalf("%s: holds %d of %d", name, s.Size(), accepted)
	}
	got, err := io.ReadAll(s.Reader())
	if !bytes.HasPrefix(content, got) {
		t.Fatalf("%s: read back something else", name)
	}
	if _, fault := errors.AsType[*Fault](err); err != nil && !fault || err == nil && len(got) != accepted {
		t.Fatalf("%s: read back %d of %d, %v", name, len(got), accepted, err)
	}
}

func TestPlacesThatCannotBeWritten(t *testing.T) {
	readOnly := filepath.Join(t.TempDir(), "read-only")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	places := map[string]*Place{
		"missing": {Dir: filepath.Join(t.TempDir(), "missing")}, "a file": {Dir: file},
		"full": {Open: func() (File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }},
	}
	if os.Geteuid() != 0 {
		places["read-only"] = &Place{Dir: readOnly}
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		delete(places, "full")
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			if place.Check() == nil || place.State().Fault == "" {
				t.Error("it is taken for good")
			}
			s := place.Spool()
			defer s.Close()
			kept := strings.Repeat("x", memoryOfOne)
			if _, err := io.WriteString(&s, kept); err != nil {
				t.Fatal(err)
			}
			_, err := io.WriteString(&s, "y")
			if fault, is := errors.AsType[*Fault](err); !is || fault.Op != "keep" {
				t.Errorf("got %v", err)
			}
			if got, err := io.ReadAll(s.Reader()); err != nil || string(got) != kept {
				t.Errorf("%d bytes are left, %v", len(got), err)
			}
			if n := place.State().Refused; n != 1 {
				t.Errorf("%d refused", n)
			}
		})
	}
}

// All bodies together keep within the room, and give it back.
func TestRoomIsShared(t *testing.T) {
	place := &Place{Dir: t.TempDir(), Max: 5 << 20}
	if err := place.Check(); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 2<<20)
	var held []Spool
	for range 3 {
		s := place.Spool()
		if _, err := s.Write(body); err != nil {
			if !errors.Is(err, ErrFull) || len(held) != 2 {
				t.Fatalf("after %d: %v", len(held), err)
			}
			s.Close()
			continue
		}
		held = append(held, s)
	}
	if s := place.State(); s.Used != 4<<20 || s.Refused != 1 || s.Max != 5<<20 {
		t.Errorf("%+v", s)
	}
	if left, _ := os.ReadDir(place.Dir); len(left) > 0 {
		t.Errorf("files have names: %v", left)
	}
	for i := range held {
		held[i].Close()
		held[i].Close()
	}
	if s := place.State(); s.Used != 0 {
		t.Errorf("%+v", s)
	}
	s := place.Spool()
	defer s.Close()
	if _, err := s.Write(body); err != nil {
		t.Error(err)
	}
}

// Many bodies of less than a mebibyte do not fill the memory.
func TestMemoryIsShared(t *testing.T) {
	place := &Place{Dir: t.TempDir()}
	body := make([]byte, memoryOfOne)
	for range memoryMax/memoryOfOne + 10 {
		s := place.Spool()
		defer s.Close()
		if _, err := s.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if in, on := place.inMemory.used.Load(), place.State().Used; in != memoryMax || on != 10*memoryOfOne {
		t.Errorf("%d bytes in memory, %d on disk", in, on)
	}
}

// A body that outgrows the memory gives what it had of it to others.
func TestABodyThatGoesToAFileLeavesMemory(t *testing.T) {
	place := &Place{Dir: t.TempDir()}
	s := place.Spool()
	defer s.Close()
	s.Expect(uncounted)
	for _, n := range []int{uncounted, 1, memoryOfOne} {
		if _, err := s.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if in, on := place.inMemory.used.Load(), place.State().Used; in != 0 || on != uncounted+1+memoryOfOne {
		t.Errorf("%d bytes in memory, %d on disk", in, on)
	}
}

func TestCleanRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	left, other := filepath.Join(dir, filePrefix+"123"), filepath.Join(dir, "other")
	for _, path := range []string{left, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	(&Place{Dir: dir}).Clean()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("it is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
