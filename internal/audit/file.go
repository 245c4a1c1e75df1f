package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/envfile"
)

const (
	fileName    = "audit.jsonl"
	fileSize    = 4 << 20 // bytes, after which another file is begun
	olderFiles  = 3       // that are kept beside it
	olderPrefix = "audit-"
	olderSuffix = ".jsonl"
)

// write appends entries to the file, or tells why it cannot. A line that an
// earlier writer could not end, since it was stopped or the disk was full, is
// ended first: it spoils itself alone.
func (l *Log) write(entries []Entry) error {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(l.Dir, fileName)
	l.rotate(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text := encode(entries)
	if info.Size() == 0 {
		giveTo(f, l.Dir)
	} else if last := make([]byte, 1); !endsLine(f, last, info.Size()) {
		text = append([]byte("\n"), text...)
	}
	// One write, so that those of several processes do not mix.
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

func endsLine(f io.ReaderAt, last []byte, size int64) bool {
	_, err := f.ReadAt(last, size-1)
	return err == nil && last[0] == '\n'
}

// rotate begins another file where this one is large. Its name tells when, so
// that of two processes that do so none removes what the other has moved; and
// one looks once more when it is alone, so that it moves no file that the other
// has just begun.
func (l *Log) rotate(path string) {
	if !large(path) {
		return
	}
	envfile.Exclusive(l.Dir, func() error {
		if !large(path) {
			return nil
		}
		aside := filepath.Join(l.Dir, olderPrefix+time.Now().UTC().Format("20060102T150405.000000000")+olderSuffix)
		if err := os.Rename(path, aside); err != nil {
			return err // then it goes on growing for now
		}
		if older := l.older(); len(older) > olderFiles {
			for _, name := range older[olderFiles:] {
				os.Remove(filepath.Join(l.Dir, name))
			}
		}
		return nil
	})
}

func large(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() >= fileSize
}

// older are the names of the files that are full, the newest first.
func (l *Log) older() []string {
	entries, _ := os.ReadDir(l.Dir)
	var names []string
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, olderPrefix) && strings.HasSuffix(name, olderSuffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names
}

// read returns the latest entries of the files, the newest first. Lines that
// cannot be read are passed over, and told by the error.
func (l *Log) read(limit int) ([]Entry, error) {
	var found []Entry
	torn := 0
	for _, name := range append([]string{fileName}, l.older()...) {
		text, err := os.ReadFile(filepath.Join(l.Dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return found, err
		}
		lines := bytes.Split(text, []byte("\n"))
		for i := len(lines) - 1; i >= 0; i-- {
			var e Entry
			switch {
			case len(lines[i]) == 0:
				continue
			case json.Unmarshal(lines[i], &e) != nil || e.Kind == "":
				torn++
				continue
			}
			if found = append(found, e); len(found) == limit {
				return found, tornError(torn)
			}
		}
	}
	return found, tornError(torn)
}

func tornError(lines int) error {
	if lines == 0 {
		return nil
	}
	return fmt.Errorf("lines of the record that were not written to their end: %d", lines)
}
