// Package logfile keeps the log in a file that is turned over when it is full,
// for processes that have no standard output. What happens to the file does not
// end it: a disk that is full, or somebody who moves or deletes the file.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// megabyte is the unit of a file's size.
const megabyte = 1 << 20

// MostKept bounds how many files that are full may be kept.
const MostKept = 10_000

const (
	piece     = 256 << 10   // bytes that are written at once, as a rule
	lookEvery = time.Second // whether the file still stands where it was opened
	turnEvery = time.Minute // whether a file that is too large can be turned over
)

// File is a log file: a Writer of whole lines, for one goroutine.
type File struct {
	to   lumberjack.Logger
	errs io.Writer

	looked time.Time
	is     os.FileInfo // what is written to, as it was looked at last; nil where that is not known
	torn   bool        // the last line has no end
	broken bool        // the last write has failed, which was told

	limit    int       // megabytes at which the file is full
	stuck    bool      // it cannot be turned over, which was told
	turnOver time.Time // when that is tried again
}

// Check returns why a log cannot be kept at path, in words, or nil. It changes
// nothing.
func Check(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("its directory %s does not exist: make it, and let this process write there", dir)
	case err != nil:
		return fmt.Errorf("its directory cannot be read: %w", plain(err))
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	}
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return errors.New("it is a directory: name a file in it")
		}
		itself, err := os.Lstat(path) // a device would be renamed like a file that is full; a link to one is renamed instead
		if err != nil || (info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket)|itself.Mode()&fs.ModeDevice) != 0 {
			return errors.New("it is a pipe or a device: name a file, or leave the setting out for standard output")
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return fmt.Errorf("it cannot be written: %w", plain(err))
		}
		f.Close()
	}
	// A file that is full gets another name, and a new one is made.
	probe, err := os.CreateTemp(dir, ".dynproxy-log-*")
	if err != nil {
		return fmt.Errorf("its directory %s must let this process make files, for its rotation: %w", dir, plain(err))
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// plain is err without the path that whoever tells of it names anyway.
func plain(err error) error {
	if e, is := errors.AsType[*fs.PathError](err); is {
		return e.Err
	}
	return err
}

// New returns the log at path, which is opened with the first line. A file of
// size bytes, rounded up to megabytes, is full; beside it keep older ones are
// kept. When the file cannot be written, and when it can again, errs is told,
// once each.
func New(path string, size int64, keep int, errs io.Writer) *File {
	limit := int((size + megabyte - 1) / megabyte)
	return &File{
		to:    lumberjack.Logger{Filename: path, MaxSize: limit, MaxBackups: keep, LocalTime: true},
		limit: limit, errs: errs,
	}
}

// Write writes lines, and returns how many bytes of them are in the file.
func (f *File) Write(lines []byte) (written int, err error) {
	f.look()
	for rest := lines; len(rest) > 0 && err == nil; {
		var part []byte
		part, rest = split(rest)
		var n int
		n, err = f.write(part)
		written += n
		if len(rest) > 0 {
			// Files that are full are named by the millisecond: two that fill within one
			// would be one, and the former's lines gone.
			time.Sleep(time.Millisecond)
		}
	}
	switch {
	case err != nil:
		f.to.Close() // the next write opens what is there by then
		f.is = nil
	case f.is == nil:
		f.is, _ = os.Stat(f.to.Filename) // what cannot be looked at is looked at the next time
	}
	f.tell(err)
	return written, err
}

// split takes whole lines off lines.
func split(lines []byte) (part, rest []byte) {
	if len(lines) <= piece {
		return lines, nil
	}
	end := bytes.LastIndexByte(lines[:piece], '\n')
	if end < 0 { // one long line
		if end = bytes.IndexByte(lines, '\n'); end < 0 {
			return lines, nil
		}
	}
	return lines[:end+1], lines[end+1:]
}

func (f *File) write(part []byte) (int, error) {
	if f.torn {
		if _, err := f.to.Write([]byte("\n")); err != nil {
			return 0, err
		}
		f.torn = false
	}
	n, err := f.to.Write(part)
	if err != nil && n == 0 && f.grow(err) {
		n, err = f.to.Write(part)
	}
	f.torn = err != nil && n > 0 && part[n-1] != '\n'
	return n, err
}

// grow lets a full file become larger that cannot be turned over: on Windows it
// has no other name while somebody reads it.
func (f *File) grow(why error) bool {
	info, err := os.Stat(f.to.Filename)
	if err != nil || info.Size()+piece < int64(f.limit)*megabyte {
		return false // that is not what is wrong
	}
	f.to.MaxSize = int(info.Size()/megabyte) + 1 + f.limit
	f.turnOver = time.Now().Add(turnEvery)
	if !f.stuck {
		f.stuck = true
		f.say("the log file %s is full and cannot be turned over: %v; it grows until it can", f.to.Filename, why)
	}
	return true
}

// look goes over to the file that now stands at the path, where another process
// has turned the log over, or somebody has moved, deleted or emptied it.
func (f *File) look() {
	now := time.Now()
	if now.Sub(f.looked) < lookEvery {
		return
	}
	f.looked = now
	there, err := os.Stat(f.to.Filename)
	if f.is != nil && (err != nil || !os.SameFile(f.is, there) || there.Size() < f.is.Size()) {
		f.to.Close() // the next write opens what is there, or makes it
		f.is = nil
	} else if f.is != nil {
		f.is = there
	}
	if f.to.MaxSize > f.limit && now.After(f.turnOver) {
		f.to.MaxSize = f.limit
		f.stuck = err == nil && f.stuck && there.Size() >= int64(f.limit)*megabyte
	}
}

// tell says when the file cannot be written any more, and when it can again.
func (f *File) tell(err error) {
	if f.broken == (err != nil) {
		return
	}
	f.broken = err != nil
	if f.broken {
		f.say("the log file %s cannot be written: %v; lines are lost, and counted, until it can", f.to.Filename, plain(err))
	} else {
		f.say("the log file %s is written again; it says how many lines are missing", f.to.Filename)
	}
}

// say tells errs, which may hang too.
func (f *File) say(words string, args ...any) {
	go fmt.Fprintf(f.errs, "dynproxy: "+words+"\n", args...)
}

// Close ends it.
func (f *File) Close() error { return f.to.Close() }
