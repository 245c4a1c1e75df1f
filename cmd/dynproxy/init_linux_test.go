package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a program on a terminal of its own.
type terminal struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex // guards shown
	shown  bytes.Buffer
}

func (s *terminal) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// openTerminal returns a terminal and the end that a program has of it.
func openTerminal(t *testing.T) (*terminal, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, master: master}
	go func() { // ends when the terminal is closed
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.shown.Write(buffer[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { master.Close(); slave.Close() })
	return s, slave
}

// answer waits for a question and types the answer.
func (s *terminal) answer(question, answer string) {
	s.t.Helper()
	for began := time.Now(); !strings.Contains(s.screen(), question); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			s.t.Fatalf("%q is not asked: %s", question, s.screen())
		}
	}
	if _, err := s.master.WriteString(answer); err != nil {
		s.t.Fatal(err)
	}
}

// On a terminal the secret is not shown. Who leaves with Ctrl-C while it is
// asked for leaves nothing behind, and a terminal that shows again.
func TestInitOnATerminal(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		s, slave := openTerminal(t)
		dir := t.TempDir()
		c := exec.Command("dynproxy", "init", "--no-check", "--file", filepath.Join(dir, "new", "dynproxy.env"))
		c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		c.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		s.answer("Application (client) id", demoClientID+"\n")
		for shows := true; shows; { // until the terminal hides what is typed
			now, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			shows = now.Lflag&unix.ECHO != 0
			time.Sleep(time.Millisecond)
		}
		if leaves {
			s.answer("it is not shown", "half of a s3cret\x03")
		} else {
			s.answer("it is not shown", "typed-s3cret-word\n")
			s.answer("Name of the first tenant", "contoso\n")
			s.answer("Address of its organization", "https://contoso.crm.dynamics.com\n")
			s.answer("How do callers come in", "keys\n")
			s.answer("Name of the first caller", "webform\n")
		}
		err = c.Wait()
		exit, failed := errors.AsType[*exec.ExitError](err)
		if leaves != (failed && exit.ExitCode() == 1) {
			t.Errorf("leaves %v: ended with %v: %s", leaves, err, s.screen())
		}
		if strings.Contains(s.screen(), "s3cret") {
			t.Errorf("the secret is shown: %s", s.screen())
		}
		after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil || after.Lflag != before.Lflag {
			t.Errorf("the terminal is not what it was: %v", err)
		}
		left, _ := os.ReadDir(dir)
		kept, _ := os.ReadFile(filepath.Join(dir, "new", "client-secret"))
		if leaves == (len(left) > 0) || !leaves && string(kept) != "typed-s3cret-word\n" {
			t.Errorf("leaves %v: %v, %q", leaves, left, kept)
		}
	}
}
