package textfile

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"
)

// What is protected is read as it was, however the file has been copied since,
// on the machine that made it; elsewhere the error says what it is.
func TestAProtectedFileIsReadWhereItWasMade(t *testing.T) {
	path := filepath.Join(folder(t), "secret")
	content := []byte("s3~cret\r\n\x00binary")
	if runtime.GOOS != "windows" {
		if _, err := Protect(content); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("%v", err)
		}
		os.WriteFile(path, []byte("\ufeff-----BEGIN DYNPROXY PROTECTED SECRET-----\r\n\r\nAAAA\r\n-----END DYNPROXY PROTECTED SECRET-----\r\n"), 0o600)
		for _, read := range []func(string) ([]byte, error){ReadSecret, Read, ReadPEM} {
			if _, err := read(path); err == nil || !strings.Contains(err.Error(), "protected by Windows for the machine that made it") {
				t.Errorf("%v", err)
			}
		}
		return
	}
	file, err := Protect(content)
	if err != nil || bytes.Contains(file, []byte("s3~cret")) {
		t.Fatalf("%v", err)
	}
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(file))) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	for name, written := range map[string][]byte{
		"as it is": file, "CRLF": bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), "UTF-16": wide, "with a mark": append([]byte("\ufeff"), file...),
	} {
		os.WriteFile(path, written, 0o600)
		if got, err := ReadSecret(path); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, written := range map[string][]byte{"cut off": file[:len(file)/2], "two": append(file, file...)} {
		os.WriteFile(path, written, 0o600)
		if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	strange := bytes.Replace(file, []byte("\n\n"), []byte("\n\nAAAA"), 1)
	os.WriteFile(path, strange, 0o600)
	if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("another machine's: %v", err)
	}
}

// A file that is not protected costs nobody anything.
func TestWhatIsNotProtectedIsAsItIs(t *testing.T) {
	path := filepath.Join(folder(t), "secret")
	for _, content := range []string{"", "s3cret\r\n", "\x00\xff binary", "text that names -----BEGIN DYNPROXY PROTECTED SECRET-----"} {
		os.WriteFile(path, []byte(content), 0o600)
		if got, err := ReadSecret(path); err != nil || string(got) != content {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
}
