// Package textfile reads every file of text that a person or a tool may have
// written, whatever editor or shell that was, and replaces files whole.
package textfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// maxSize is the largest file that is read, in bytes.
const maxSize = 4 << 20

var (
	errBinary    = errors.New("it is not text; save it as UTF-8")
	errDirectory = errors.New("it is a directory, not a file")
	errTooLarge  = fmt.Errorf("it is larger than %d MiB", maxSize>>20)
	errTorn      = errors.New("it is UTF-16 that breaks off; save it as UTF-8")
	errNobody    = errors.New("it is a pipe that nobody writes to; name a file")
	errSilent    = fmt.Errorf("nothing came from it for %v; name a file", writerPatience)
)

// Whoever writes to a pipe may be about to open it, or may first have to fetch
// what it writes.
const (
	openPatience   = time.Second
	writerPatience = 10 * time.Second
)

// Read returns the text of the file at path as UTF-8 with line feeds between
// lines, as Decode makes it. The error names path and the cure, and holds
// nothing of the content; the operating system's own is inside. What is
// protected is read too, as ReadSecret does.
func Read(path string) ([]byte, error) {
	raw, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	text, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	return text, nil
}

// ReadRaw returns the content of the file at path, which may also be a pipe,
// as it is. The error is as Read's.
func ReadRaw(path string) ([]byte, error) {
	raw, err := retry(readTries, func() ([]byte, error) { return readOnce(path) })
	if err == nil {
		return raw, nil
	}
	return nil, fmt.Errorf("%s cannot be read: %w", path, Reason(err))
}

func readOnce(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errDirectory
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := readAll(f, info.Mode())
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSilent
	case err == nil && len(raw) > maxSize:
		return nil, errTooLarge
	}
	return raw, err
}

// readAll reads f, up to one byte more than is allowed. A pipe or a device is
// waited for within bounds: nothing that depends on its content may stand still.
func readAll(f *os.File, mode fs.FileMode) ([]byte, error) {
	began := time.Now()
	f.SetReadDeadline(began.Add(writerPatience)) // a file cannot have one, and does not wait
	for {
		raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
		switch {
		case err != nil || len(raw) > 0 || mode&fs.ModeNamedPipe == 0:
			return raw, err
		case time.Since(began) > openPatience:
			return nil, errNobody
		}
		time.Sleep(firstPause)
	}
}

// How often a file is tried that another program holds. What is read is looked at
// again by itself; what is written is lost if it cannot be: that is tried for
// some two seconds.
const (
	readTries  = 5
	writeTries = 14
	firstPause = 10 * time.Millisecond // and each time half as long again
)

// retry does what again while the file is held by another program, as happens
// on Windows for moments: virus scanners and editors open files for themselves
// alone. Elsewhere it does it once.
func retry[T any](tries int, what func() (T, error)) (T, error) {
	pause := firstPause
	for try := 1; ; try++ {
		got, err := what()
		if err == nil || try == tries || !busy(err) {
			return got, err
		}
		time.Sleep(pause)
		pause += pause / 2
	}
}

// Decode returns raw as UTF-8 with line feeds between lines. It understands
// UTF-8 with and without a byte order mark, UTF-16 with one, line ends of CRLF
// and of a lone CR, and drops what old tools leave behind the end: NUL bytes
// and Ctrl-Z. The error holds nothing of raw.
func Decode(raw []byte) ([]byte, error) {
	text, err := toUTF8(raw)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimRight(text, "\x00\x1a")
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, errBinary
	}
	// Files that were joined have a mark before each part.
	text = bytes.ReplaceAll(text, []byte("\ufeff"), nil)
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n")), nil
}

// Lines returns text as people here expect it in a file: with the line ends of
// this system. Editors of older Windows show a file without its own as one line.
func Lines(text string) []byte {
	return []byte(strings.ReplaceAll(text, "\n", lineEnd))
}

func toUTF8(raw []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return raw, nil
	}
	if len(raw)%2 != 0 {
		return nil, errTorn
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	text := string(utf16.Decode(units))
	for _, r := range text {
		if r == utf8.RuneError {
			return nil, errTorn
		}
	}
	return []byte(text), nil
}
