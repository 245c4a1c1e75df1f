// Package spool keeps the bodies of requests until they have arrived whole and may have to be sent again: in memory up
// to a bound, then in files that nobody else can open. All of them together have a bound too. What cannot be kept is
// told by an error and never shortened.
package spool

import (
	"errors"
	"fmt"
	"io"
)

// TooLarge says that a body has more bytes than are kept of any.
type TooLarge struct{ Limit int64 }

func (e *TooLarge) Error() string {
	return fmt.Sprintf("a request's body is larger than %d bytes", e.Limit)
}

// ErrFull says that all bodies together take the room that they may have.
var ErrFull = errors.New("the bodies that are kept take all the room they may")

// Fault is a fault of this machine's own: there is no room for a body, or what was kept of it cannot be read back. It
// is never the caller's.
type Fault struct {
	Op  string // "keep" or "read back"
	err error  // the disk's, or ErrFull
}

func (f *Fault) Error() string { return fmt.Sprintf("%s a request's body: %v", f.Op, f.err) }

func (f *Fault) Unwrap() error { return f.err }

// Spool holds one body. It is made by Place.Spool, and must be closed. It is not for several goroutines at once.
type Spool struct {
	place *Place
	mem   []byte
	lent  *[]byte // in which mem began; nil for none
	file  File
	size  int64
	taken int64 // of the place's memory, while there is no file; of its room on disk, from then on
}

// Expect, before the first Write, makes room for a body of n bytes, as far as any may hold memory.
func (s *Spool) Expect(n int64) {
	if n = min(n, uncounted); n > 0 {
		s.lent = borrow(n)
		s.mem = (*s.lent)[:0]
	}
}

// Size returns how many bytes are held.
func (s *Spool) Size() int64 { return s.size }

// Write appends p whole, or returns an error and holds what it held: a *TooLarge or a *Fault.
func (s *Spool) Write(p []byte) (int, error) {
	end := s.size + int64(len(p))
	if end > s.place.Largest() {
		return 0, &TooLarge{s.place.Largest()}
	}
	if s.file == nil && !s.fitsMemory(end) {
		if err := s.toFile(); err != nil {
			return 0, s.place.refused(err)
		}
	}
	if s.file == nil {
		s.mem = append(s.mem, p...)
	} else if err := s.writeAt(p, s.size); err != nil {
		return 0, s.place.refused(err)
	}
	s.size = end
	return len(p), nil
}

// fitsMemory reports whether the body may stay in memory when it is of that size, and takes the room.
func (s *Spool) fitsMemory(end int64) bool {
	if end > s.place.memory() {
		return false
	}
	if end <= uncounted {
		return true
	}
	if !s.place.inMemory.take(end-s.taken, memoryMax) {
		return false
	}
	s.taken = end
	return true
}

func (s *Spool) toFile() error {
	f, err := s.place.open()
	if err != nil {
		return err
	}
	inMemory := s.taken
	s.file, s.taken = f, 0
	if err := s.writeAt(s.mem, 0); err != nil {
		s.place.onDisk.giveBack(s.taken)
		f.Close()
		s.file, s.taken = nil, inMemory
		return err
	}
	s.place.inMemory.giveBack(inMemory)
	s.mem = nil
	return nil
}

func (s *Spool) writeAt(p []byte, off int64) error {
	if !s.place.onDisk.take(int64(len(p)), s.place.most()) {
		return ErrFull
	}
	s.taken += int64(len(p))
	n, err := s.file.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// ReadAt reads what is held, as io.ReaderAt. An error that is not io.EOF is a *Fault.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), s.size-off)]
	n := 0
	if s.file == nil {
		n = copy(want, s.mem[off:])
	} else {
		var err error
		if n, err = s.file.ReadAt(want, off); n < len(want) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // the file is shorter than what was written
			}
			return n, &Fault{"read back", err}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Reader returns a reader of all that is held now.
func (s *Spool) Reader() io.Reader { return io.NewSectionReader(s, 0, s.size) }

// Close forgets what is held and gives its room back.
func (s *Spool) Close() {
	if s.file != nil {
		s.file.Close()
		s.place.onDisk.giveBack(s.taken)
	} else if s.place != nil {
		s.place.inMemory.giveBack(s.taken)
	}
	giveBack(s.lent)
	*s = Spool{place: s.place}
}
