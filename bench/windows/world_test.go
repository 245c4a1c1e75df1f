//go:build wine

package windows

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build builds the program for a system, as a release does, into a folder that
// stays for all tests.
func build(t *testing.T, w *windows, system, version string) string {
	t.Helper()
	path := filepath.Join(w.home, "dynproxy-"+version+"-"+system)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.release=v"+version, "-o", path, "./cmd/dynproxy")
	c.Dir = "../.."
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH=amd64")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// installer is the MSI of a version, as Windows names its path.
func installer(t *testing.T, w *windows, version string) string {
	t.Helper()
	path := filepath.Join(w.home, "dynproxy_"+version+"_x64.msi")
	if _, err := os.Stat(path); err == nil {
		return inWindows(path)
	}
	out, err := exec.Command("../../release/msi", version, build(t, w, "windows", version), "../../LICENSE", path).CombinedOutput()
	if err != nil {
		t.Fatalf("release/msi: %v: %s", err, out)
	}
	return inWindows(path)
}

// emulator runs Entra ID and organizations on this machine until the test ends,
// and returns the settings with which a proxy in Windows uses them.
func emulator(t *testing.T, w *windows) string {
	t.Helper()
	c := exec.Command(build(t, w, "linux", "1.0.1"), "emulator")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		c.Wait()
	})
	var settings strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, value, is := strings.Cut(lines.Text(), "=")
		switch {
		case is && name == "DYNPROXY_TRUSTED_CA_FILE":
			fmt.Fprintf(&settings, "%s=%s\n", name, inWindows(value))
		case is && strings.HasPrefix(name, "DYNPROXY_"):
			fmt.Fprintln(&settings, lines.Text())
		case strings.Contains(lines.Text(), "Ctrl-C"):
			return settings.String()
		}
	}
	t.Fatal("the emulator has ended")
	return ""
}

// freeAddress is one on loopback where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
