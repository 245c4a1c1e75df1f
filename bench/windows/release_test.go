//go:build wine

package windows

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// release runs a script of release/ with further variables.
func release(t *testing.T, environ []string, name string, args ...string) string {
	t.Helper()
	c := exec.Command("../../release/"+name, args...)
	c.Env = append(os.Environ(), environ...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("release/%s: %v: %s", name, err, out)
	}
	return string(out)
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is built twice is the same, whatever the hour and the zone: it can be
// built by others and compared. With another program it is another package.
func TestInstallerAndZipAreTheSameBytesEachTime(t *testing.T) {
	w := here(t)
	dir := t.TempDir()
	for _, kind := range []string{"msi", "windows-zip"} {
		var all [][]byte
		for i, from := range []struct{ program, zone string }{{"1.0.1", "UTC"}, {"1.0.1", "Asia/Kathmandu"}, {"1.0.2", "UTC"}} {
			path := filepath.Join(dir, kind+string('0'+rune(i)))
			environ := []string{"TZ=" + from.zone, "SOURCE_DATE_EPOCH=1796000000"}
			release(t, environ, kind, "1.0.1", build(t, w, "windows", from.program), "../../LICENSE", path)
			all = append(all, content(t, path))
		}
		if !bytes.Equal(all[0], all[1]) {
			t.Errorf("%s differs from itself", kind)
		}
		if bytes.Equal(all[0], all[2]) {
			t.Errorf("%s does not depend on the program", kind)
		}
		t.Logf("%s: %.1f MB", kind, float64(len(all[0]))/1e6)
	}
}

func TestVersionsThatAnInstallerCannotHaveAreRefused(t *testing.T) {
	for _, version := range []string{"1.2", "1.2.3.4", "256.0.0", "1.0.65536", "1.02.0", "next", ""} {
		out, err := exec.Command("../../release/msi", version, "doc.go", "doc.go", filepath.Join(t.TempDir(), "x.msi")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is no version that an installer can have") {
			t.Errorf("%q: %v: %s", version, err, out)
		}
	}
}

func TestTheZipHoldsWhatIsNeededAndWindowsCanReadIt(t *testing.T) {
	w := here(t)
	path := filepath.Join(t.TempDir(), "dynproxy.zip")
	release(t, nil, "windows-zip", "v1.0.1", build(t, w, "windows", "1.0.1"), "../../LICENSE", path)
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if name := filepath.Base(f.Name); name != "example.env" && name != "LICENSE.txt" && name != "NOTICES.txt" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")); lines < 10 || bytes.Count(text, []byte("\r\n")) != lines {
			t.Errorf("%s has other line ends than Windows'", f.Name)
		}
	}
	want := []string{"LICENSE.txt", "NOTICES.txt", "README.md", "dynproxy.exe", "example.env"}
	if !slices.Equal(names, want) {
		t.Errorf("it holds %v", names)
	}
}

// With a certificate, program and installer are signed, and run as before.
func TestReleasesAreSignedWithTheCertificateThatIsGiven(t *testing.T) {
	w := here(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return string(out)
	}
	if err := os.WriteFile(at("password"), []byte("a b&c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at("key"), "-out", at("certificate"), "-days", "30",
		"-subj", "/CN=dynproxy test", "-addext", "extendedKeyUsage=codeSigning")
	must("openssl", "pkcs12", "-export", "-inkey", at("key"), "-in", at("certificate"), "-out", at("pfx"), "-passout", "file:"+at("password"))

	environ := []string{"SOURCE_DATE_EPOCH=1796000000", "SIGN_PFX=" + at("pfx"), "SIGN_PASSWORD_FILE=" + at("password")}
	for _, name := range []string{"a.msi", "b.msi"} {
		release(t, environ, "msi", "1.0.1", build(t, w, "windows", "1.0.1"), "../../LICENSE", at(name))
	}
	release(t, environ, "windows-zip", "1.0.1", build(t, w, "windows", "1.0.1"), "../../LICENSE", at("zip"))
	if !bytes.Equal(content(t, at("a.msi")), content(t, at("b.msi"))) {
		t.Error("what is signed twice differs")
	}

	if status, log := w.msiexec(t, "/i", inWindows(at("a.msi"))); status != 0 {
		t.Fatalf("the signed installer ends with %d: %s", status, log)
	}
	t.Cleanup(func() {
		w.msiexec(t, "/x", inWindows(at("a.msi")), "PURGE=1")
		w.clean(t)
	})
	expect(t, "the signed program's version", firstWords(w.wine(t, program, "version")), "dynproxy v1.0.1")
	must("unzip", "-q", at("zip"), "dynproxy.exe", "-d", dir)
	for _, signed := range []string{at("a.msi"), at("dynproxy.exe"), w.path(program)} {
		if out := must("osslsigncode", "verify", "-CAfile", at("certificate"), "-in", signed); !strings.Contains(out, "Signature verification: ok") {
			t.Errorf("%s: %s", signed, out)
		}
	}
}
