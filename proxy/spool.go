package proxy

import (
	"errors"
	"io"
	"os"
)

const (
	spoolMemory = 1 << 20   // bytes held in memory
	spoolDisk   = 128 << 20 // bytes held in all, beyond memory in a file without a name
)

var errSpoolFull = errors.New("the body is larger than what is kept of one")

// spool holds bytes that may be needed again: in memory up to a bound, then in
// a temporary file that nobody else can open. The zero value is empty.
type spool struct {
	mem  []byte
	file *os.File
	size int64
}

// Write appends p whole, or returns an error and holds what it held.
func (s *spool) Write(p []byte) (int, error) {
	end := s.size + int64(len(p))
	if end > spoolDisk {
		return 0, errSpoolFull
	}
	if s.file == nil && end > spoolMemory {
		if err := s.toFile(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		s.mem = append(s.mem, p...)
	} else if _, err := s.file.WriteAt(p, s.size); err != nil {
		return 0, err
	}
	s.size = end
	return len(p), nil
}

func (s *spool) toFile() error {
	f, err := os.CreateTemp("", "dynproxy-*")
	if err != nil {
		return err
	}
	// Where an open file cannot be removed, close does it.
	os.Remove(f.Name())
	if _, err := f.WriteAt(s.mem, 0); err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	s.file, s.mem = f, nil
	return nil
}

// ReadAt reads what is held, as io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	if s.file != nil {
		return s.file.ReadAt(p[:min(int64(len(p)), s.size-off)], off)
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// reader returns a reader of all that is held now.
func (s *spool) reader() io.Reader { return io.NewSectionReader(s, 0, s.size) }

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
	s.mem, s.file, s.size = nil, nil, 0
}
