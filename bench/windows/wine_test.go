//go:build wine

package windows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take that has to come: far more than it
// takes on a machine with nothing else to do.
const patience = 3 * time.Minute

// windows is a Windows of its own, under wine, that ends with the tests.
type windows struct {
	home   string    // a folder for everything, the prefix in it
	events *os.File  // what the services say through wine
	held   io.Closer // ends the program that keeps it running
}

// machine is made once, for all tests: they leave it as they have found it.
var machine = sync.OnceValues(newWindows)

// here returns the machine, with nothing of ours installed.
func here(t *testing.T) *windows {
	t.Helper()
	m, err := machine()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMain(m *testing.M) {
	status := m.Run()
	if w, err := machine(); err == nil {
		w.close()
	}
	os.Exit(status)
}

func newWindows() (*windows, error) {
	home, err := os.MkdirTemp("", "dynproxy-wine-")
	if err != nil {
		return nil, err
	}
	w := &windows{home: home}
	if w.events, err = os.Create(filepath.Join(home, "events")); err != nil {
		return nil, err
	}
	dll := w.path(`C:\windows\system32\bcryptprimitives.dll`)
	for _, step := range [][]string{
		{"wine", "wineboot", "-i"},
		{"x86_64-w64-mingw32-ld", "-shared", "-o", dll, "testdata/bcryptprimitives.def"},
		{"wine", "reg", "add", `HKCU\Software\Wine`, "/v", "Version", "/t", "REG_SZ", "/d", "win10", "/f"},
	} {
		if out, status := w.run(step[0], step[1:]...); status != 0 {
			w.close()
			return nil, fmt.Errorf("%s ends with %d: %s", strings.Join(step, " "), status, out)
		}
	}
	return w, w.hold()
}

// hold keeps Windows running: with its last program wine ends all services.
func (w *windows) hold() error {
	c := w.command(context.Background(), "wine", "cmd")
	stdin, err := c.StdinPipe()
	if err != nil {
		return err
	}
	w.held = stdin
	return c.Start()
}

func (w *windows) close() {
	if w.held != nil {
		w.held.Close()
	}
	w.run("/usr/lib/wine/wineserver64", "-k", "-w")
	w.events.Close()
	os.RemoveAll(w.home)
}

// path is where a path of Windows lies here.
func (w *windows) path(name string) string {
	return filepath.Join(w.home, "prefix", "drive_c", strings.ReplaceAll(strings.TrimPrefix(name, `C:\`), `\`, "/"))
}

// inWindows is how Windows names a path of this machine.
func inWindows(path string) string { return "Z:" + strings.ReplaceAll(path, "/", `\`) }

// command is a program with this Windows.
func (w *windows) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "HOME="+w.home, "WINEPREFIX="+filepath.Join(w.home, "prefix"), "WINEARCH=win64",
		"WINEDEBUG=-all,+eventlog", "WINEDLLOVERRIDES=mscoree,mshtml,winemenubuilder.exe=")
	c.Stderr = w.events
	return c
}

// run runs a program to its end, and returns what it has printed and its exit
// status, of which wine hands on the lower eight bits.
func (w *windows) run(name string, args ...string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := w.command(ctx, name, args...)
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case ended:
		return out.String(), exit.ExitCode()
	case err != nil:
		return err.Error(), -1
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), 0
}

// wine runs a program of Windows that has to do well.
func (w *windows) wine(t *testing.T, args ...string) string {
	t.Helper()
	out, status := w.run("wine", args...)
	if status != 0 {
		t.Fatalf("%s ends with %d: %s", strings.Join(args, " "), status, out)
	}
	return out
}

// said is what services and installers have told since the mark at.
func (w *windows) said(t *testing.T, at int64) string {
	t.Helper()
	text, err := os.ReadFile(w.events.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text[at:])
}

// mark is a place in what is told.
func (w *windows) mark(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(w.events.Name())
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// write makes a file of Windows, with its line ends.
func (w *windows) write(t *testing.T, name, text string) {
	t.Helper()
	path := w.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *windows) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w *windows) has(name string) bool {
	_, err := os.Stat(w.path(name))
	return err == nil
}

// value is a value of the registry; "" where there is none.
func (w *windows) value(key, name string) string {
	out, status := w.run("wine", "reg", "query", key, "/v", name)
	if status != 0 {
		return ""
	}
	for line := range strings.Lines(out) {
		fields := strings.SplitN(strings.TrimSpace(line), "    ", 3)
		if len(fields) == 3 && fields[0] == name {
			return fields[2]
		}
	}
	return ""
}

// state is the service's, as sc.exe shows it; "" where there is no service.
func (w *windows) state() string {
	out, status := w.run("wine", "sc", "query", "dynproxy")
	if status != 0 {
		return ""
	}
	for line := range strings.Lines(out) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "STATE" {
			return strings.Fields(value)[1]
		}
	}
	return out
}
