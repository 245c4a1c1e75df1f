package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// command runs a program of the system, and says what it said where it failed.
func command(ctx context.Context, stdin, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin = strings.NewReader(stdin)
	said, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(said))
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) error {
	return command(ctx, "", "systemctl", append([]string{"--quiet"}, args...)...)
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	said, err := exec.CommandContext(ctx, name, args...).Output()
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		return string(said), fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(failed.Stderr))
	}
	return string(said), err
}

// lastLines are the last lines that the service's latest start has logged.
func lastLines(ctx context.Context) string {
	id, err := output(ctx, "systemctl", "show", serviceUnit, "--property", "InvocationID", "--value")
	if err != nil {
		return err.Error()
	}
	said, err := output(ctx, "journalctl", "_SYSTEMD_INVOCATION_ID="+strings.TrimSpace(id), "--lines", "10", "--output", "cat", "--no-pager")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(said)
}

var errNotInstalled = errors.New("the service is not installed; dynproxy service install does that")

// installed reports that it is not.
func installed(ctx context.Context) error {
	said, err := output(ctx, "systemctl", "show", serviceUnit, "--property", "LoadState", "--value")
	if err == nil && strings.TrimSpace(said) == "not-found" {
		return errNotInstalled
	}
	return err
}

// Status tells how the service is.
func Status(ctx context.Context) (State, error) {
	if err := booted(); err != nil {
		return State{}, err
	}
	said, err := output(ctx, "systemctl", "show", serviceUnit,
		"--property", "LoadState,ActiveState,SubState,StatusText,Result,ExecMainStatus,MainPID,ActiveEnterTimestamp,UnitFileState,FragmentPath")
	if err != nil {
		return State{}, err
	}
	return stateOf(said), nil
}

// stateOf reads what systemctl show says of the service.
func stateOf(said string) State {
	is := make(map[string]string)
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is[name] = value
	}
	if is["LoadState"] == "not-found" {
		return State{Words: errNotInstalled.Error()}
	}
	s := State{Running: is["ActiveState"] == "active" || is["ActiveState"] == "reloading"}
	switch {
	case s.Running:
		s.Words = fmt.Sprintf("running since %s (process %s)", is["ActiveEnterTimestamp"], is["MainPID"])
	case is["ActiveState"] == "failed" || is["SubState"] == "auto-restart":
		s.Words = fmt.Sprintf("failed (%s, exit status %s); why: journalctl -u %s", is["Result"], is["ExecMainStatus"], serviceName)
	default:
		s.Words = "not running (" + is["ActiveState"] + ")"
	}
	if is["StatusText"] != "" && is["ActiveState"] != "inactive" {
		s.Words += ": " + is["StatusText"]
	}
	if is["UnitFileState"] == "enabled" {
		s.Words += "\nstarts with the system; unit " + is["FragmentPath"]
	} else {
		s.Words += "\ndoes not start with the system; unit " + is["FragmentPath"]
	}
	return s
}
