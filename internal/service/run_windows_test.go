package service

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows/svc"
)

// managed is a service as its manager sees it.
type managed struct {
	*manager
	asked    chan svc.ChangeRequest
	told     chan svc.Status
	specific bool
	code     uint32
	ended    chan struct{}
}

func manage(t *testing.T, body func(context.Context, *Host) int) *managed {
	host := &Host{reload: make(chan struct{}, 1), woken: make(chan struct{}, 1), events: newTeller((&written{}).write, t.Output())}
	m := &managed{
		manager: &manager{ctx: t.Context(), body: body, host: host},
		asked:   make(chan svc.ChangeRequest), told: make(chan svc.Status, 100), ended: make(chan struct{}),
	}
	go func() {
		m.specific, m.code = m.Execute(nil, m.asked, m.told)
		close(m.ended)
	}()
	return m
}

// The service is Running before it does anything, takes a parameter change once
// it serves, and shows progress while it drains.
func TestTheServiceManagerIsToldHowTheServiceIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, reloads := make(chan struct{}), 0
		m := manage(t, func(ctx context.Context, h *Host) int {
			<-began
			h.Serving()
			for {
				select {
				case <-h.Reload():
					reloads++
				case <-ctx.Done():
					time.Sleep(5 * time.Second) // calls in flight
					return 0
				}
			}
		})
		if is := <-m.told; is.State != svc.Running || is.Accepts&svc.AcceptParamChange != 0 || is.Accepts&svc.AcceptStop == 0 {
			t.Errorf("first told %+v", is)
		}
		close(began)
		if is := <-m.told; is.State != svc.Running || is.Accepts&svc.AcceptParamChange == 0 {
			t.Errorf("serving is told as %+v", is)
		}
		m.asked <- svc.ChangeRequest{Cmd: svc.ParamChange}
		synctest.Wait()
		m.asked <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running}}
		if is := <-m.told; is.State != svc.Running || reloads != 1 {
			t.Errorf("%+v after %d reloads", is, reloads)
		}
		m.asked <- svc.ChangeRequest{Cmd: svc.PreShutdown}
		<-m.ended
		var signs []uint32
		for len(m.told) > 0 {
			is := <-m.told
			if is.State != svc.StopPending || is.WaitHint < 2*uint32(pendingEvery.Milliseconds()) {
				t.Errorf("while it ends: %+v", is)
			}
			signs = append(signs, is.CheckPoint)
		}
		if len(signs) != 3 || signs[0] >= signs[1] || signs[1] >= signs[2] || m.code != 0 {
			t.Errorf("progress %v, exit code %d", signs, m.code)
		}
	})
}

func TestAnEndWithAnErrorIsAnExitCodeOfTheServicesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manage(t, func(context.Context, *Host) int { return 2 })
		<-m.ended
		if !m.specific || m.code != 2 {
			t.Errorf("%v %d", m.specific, m.code)
		}
	})
}

// folder is t.TempDir without its judgement of what cannot be removed, in which
// Wine differs from Windows.
func folder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "dynproxy-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestWhatTheLastStartHasSaidIsFound(t *testing.T) {
	path := filepath.Join(folder(t), errorsFile)
	if got := lastErrors(path); got != "" {
		t.Errorf("of no file %q", got)
	}
	os.WriteFile(path, []byte("2026-01-01T00:00:00Z process 1 begins\ndynproxy: old\n2026-01-02T00:00:00Z process 2 begins\ndynproxy: X is wrong\ndynproxy: Y too\n"), 0o600)
	if got := lastErrors(path); strings.TrimSpace(got) != "X is wrong\n  Y too" {
		t.Errorf("%q", got)
	}
	os.WriteFile(path, []byte("process 3 begins\n"+strings.Repeat("panic ", 10_000)), 0o600)
	if got := lastErrors(path); len(got) > 3000 || !strings.HasSuffix(got, "service.log)") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestTheSettingsFilesOfACommandLineAreFound(t *testing.T) {
	plan := Plan{Program: `C:\Program Files\dynproxy\dynproxy.exe`, EnvFiles: []string{`C:\a b\one.env`, `D:\two.env`}}
	line := commandLine(plan)
	if line != `"C:\Program Files\dynproxy\dynproxy.exe" serve --service --env-file "C:\a b\one.env" --env-file "D:\two.env"` {
		t.Errorf("%s", line)
	}
	if got := envFilesOf(line); len(got) != 2 || got[0] != plan.EnvFiles[0] || got[1] != plan.EnvFiles[1] {
		t.Errorf("%q", got)
	}
	if got := envFilesOf(`dynproxy.exe serve`); len(got) != 1 || got[0] != DefaultEnvFile() {
		t.Errorf("%q", got)
	}
}

// The descriptions of access are what Windows understands.
func TestTheFoldersAccessIsUnderstood(t *testing.T) {
	for _, sddl := range []string{readable(serviceSID(serviceName)), changeable(serviceSID(serviceName)), readable("S-1-5-19")} {
		if err := makeFolder(filepath.Join(folder(t), "x"), sddl); err != nil {
			t.Errorf("%s: %v", sddl, err)
		}
	}
}
