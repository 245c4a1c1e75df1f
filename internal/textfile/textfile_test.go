package textfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// inUTF16 writes text as Windows' editors and PowerShell's > do.
func inUTF16(text string, big bool) string {
	var out bytes.Buffer
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if big {
			out.Write([]byte{byte(u >> 8), byte(u)})
		} else {
			out.Write([]byte{byte(u), byte(u >> 8)})
		}
	}
	return out.String()
}

// disguises are the ways in which tools write one and the same text.
var disguises = map[string]func(string) string{
	"as it is":                func(s string) string { return s },
	"a byte order mark":       func(s string) string { return "\ufeff" + s },
	"UTF-16, little endian":   func(s string) string { return inUTF16(s, false) },
	"UTF-16, big endian":      func(s string) string { return inUTF16(s, true) },
	"CRLF":                    func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"lone CR":                 func(s string) string { return strings.ReplaceAll(s, "\n", "\r") },
	"NUL padding":             func(s string) string { return s + "\x00\x00\x00" },
	"Ctrl-Z":                  func(s string) string { return s + "\x1a" },
	"UTF-16, CRLF and NUL":    func(s string) string { return inUTF16(strings.ReplaceAll(s, "\n", "\r\n")+"\x00", false) },
	"a mark, CRLF, Ctrl-Z":    func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") + "\x1a\x00" },
	"joined files, two marks": func(s string) string { return "\ufeff\ufeff" + s },
}

func TestEveryToolsWritingIsTheSameText(t *testing.T) {
	const text = "NAME=Müller 𝄞\n\nOTHER=x\n"
	for name, disguise := range disguises {
		got, err := Decode([]byte(disguise(text)))
		if err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestWhatIsNoTextIsRefusedWithTheCure(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want string }{
		"binary":           {"\x30\x82\x01s3cret\x00\xff", "not text"},
		"an old code page": {"s3cret\xfc", "save it as UTF-8"},
		"torn UTF-16":      {"\xff\xfes\x003", "UTF-16"},
		"half a pair":      {"\xff\xfe\x34\xd8", "UTF-16"},
		"UTF-16 unmarked":  {"s\x003\x00c\x00", "not text"},
		"too large":        {strings.Repeat("x", maxSize+1), "larger than 4 MiB"},
	} {
		path := filepath.Join(dir, "file")
		os.WriteFile(path, []byte(c.content), 0o600)
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func certificate(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func namesIn(certs []*x509.Certificate) string {
	var all []string
	for _, c := range certs {
		all = append(all, c.Subject.CommonName)
	}
	return strings.Join(all, " ")
}

func TestNoCertificateOfABundleIsLost(t *testing.T) {
	one, two := certificate(t, "one"), certificate(t, "two")
	path := filepath.Join(t.TempDir(), "ca.pem")
	shapes := map[string]string{
		"joined without a line end": strings.TrimSpace(one) + two,
		"words between":             "subject=one\n" + one + "\nsubject=two\n" + two,
		"words of a code page":      "Name: M\xfcller\r\n" + one + "Name: M\xfcller\r\n" + two,
		"indented":                  "   " + strings.ReplaceAll(one+two, "\n", "  \n   "),
		"two files, two marks":      "\ufeff" + one + "\ufeff" + two,
	}
	for name, disguise := range disguises {
		shapes[name] = disguise(one + two)
	}
	for name, content := range shapes {
		os.WriteFile(path, []byte(content), 0o600)
		certs, err := ReadCertificates(path)
		if err != nil || namesIn(certs) != "one two" {
			t.Errorf("%s: %q, %v", name, namesIn(certs), err)
		}
		// The same through the standard library, which skips what it cannot read.
		text, err := ReadPEM(path)
		if err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) || bytes.Count(text, []byte("BEGIN")) != 2 {
			t.Errorf("%s: as PEM %v\n%s", name, err, text)
		}
	}
	block, _ := pem.Decode([]byte(one))
	os.WriteFile(path, block.Bytes, 0o600)
	if certs, err := ReadCertificates(path); err != nil || namesIn(certs) != "one" {
		t.Errorf("the binary form: %v", err)
	}
}

func TestABlockThatCannotBeReadIsNamed(t *testing.T) {
	one, two := certificate(t, "one"), certificate(t, "two")
	lines := strings.Split(two, "\n")
	path := filepath.Join(t.TempDir(), "ca.pem")
	for name, c := range map[string]struct{ content, want string }{
		"cut off":           {one + strings.Join(lines[:3], "\n"), "block 2 (CERTIFICATE) has no end"},
		"no beginning":      {one + strings.Join(lines[1:], "\n"), "block 2 has no proper beginning"},
		"a damaged line":    {one + strings.Replace(two, lines[1], "!!!"+lines[1], 1), "block 2 (CERTIFICATE) is damaged"},
		"a lost line":       {one + strings.Replace(two, lines[1]+"\n", "", 1), "block 2"},
		"another's end":     {"-----BEGIN X-----\nAAAA\n" + one, "block 1 (X) has no end"},
		"a dash too few":    {strings.Replace(one, "-----\n", "----\n", 1) + two, "block 1"},
		"OpenSSL's trusted": {strings.ReplaceAll(one, "CERTIFICATE", "TRUSTED CERTIFICATE"), "block 1 is a TRUSTED CERTIFICATE"},
		"PKCS 7":            {one + strings.ReplaceAll(two, "CERTIFICATE", "PKCS7"), "block 2 is a PKCS7"},
		"only a key":        {strings.ReplaceAll(one, "CERTIFICATE", "PRIVATE KEY"), "no certificate"},
		"no block":          {"hello", "no PEM block"},
		"empty":             {"", "no PEM block"},
		"no text":           {"\x30\x82\x0a\x01\x00", "no PEM block"},
		"UTF-16 behind":     {one + "\xff\xfe" + strings.Join(strings.Split(two, ""), "\x00") + "\x00", "save it as UTF-8"},
	} {
		os.WriteFile(path, []byte(c.content), 0o600)
		certs, err := ReadCertificates(path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q", name, namesIn(certs), err, c.want)
		}
	}
}

func TestOfTwoThatCreateAFileOneIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.env")
	var made, refused int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := Create(path, []byte("x"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if errors.Is(err, fs.ErrExist) {
				refused++
			}
		})
	}
	wg.Wait()
	if made != 1 || refused != 7 {
		t.Errorf("%d made, %d refused", made, refused)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzDecode(f *testing.F) {
	for _, disguise := range disguises {
		f.Add([]byte(disguise("A=1\nB=2\n")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := Decode(raw)
		if err != nil {
			return
		}
		if bytes.ContainsAny(text, "\x00\r") {
			t.Errorf("%q", text)
		}
		if again, err := Decode(text); err != nil || !bytes.Equal(bytes.TrimRight(again, "\x1a"), bytes.TrimRight(text, "\x1a")) {
			t.Errorf("not stable: %q, %q, %v", text, again, err)
		}
	})
}

// Who writes a file is told of that file, once, and not of what stood for it.
func TestAWriteThatFailsSpeaksOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "a.env")
	for name, write := range map[string]func(string, []byte) error{"Replace": Replace, "Create": Create} {
		err := write(path, []byte("x"))
		if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), path) != 1 || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
