package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// serviceName is the service's name, wherever Windows asks for one.
const serviceName = "dynproxy"

// errNotInstalled is the error for what needs a service that is not there.
var errNotInstalled = errors.New("the service is not installed; dynproxy service install does that")

// dataDir is where the service's settings are and what it keeps.
func dataDir() string {
	base, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		base = `C:\ProgramData`
	}
	return filepath.Join(base, serviceName)
}

// DefaultEnvFile is where a service's settings are, unless somebody says otherwise.
func DefaultEnvFile() string { return filepath.Join(dataDir(), "dynproxy.env") }

// Defaults are those of settings which are others for a service, without their
// prefix, if envFiles are the service's: so commands that are given them use what
// the service uses.
func Defaults(envFiles []string) map[string]string {
	own, _ := EnvFiles(context.Background())
	for _, path := range append(own, DefaultEnvFile()) {
		for _, given := range envFiles {
			if given, err := filepath.Abs(given); err == nil && strings.EqualFold(given, path) {
				return map[string]string{"STATE_DIR": filepath.Join(dataDir(), "state")}
			}
		}
	}
	return nil
}

// EnvFiles are the settings' files that the installed service reads.
func EnvFiles(context.Context) ([]string, error) {
	s, err := open(windows.SERVICE_QUERY_CONFIG)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	set, err := configOf(s)
	if err != nil {
		return nil, plain(err)
	}
	return envFilesOf(set.command), nil
}

// Start starts the service, and returns when it serves.
func Start(ctx context.Context) error {
	s, err := open(windows.SERVICE_START | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return plain(err)
	}
	within, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	_, err = until(within, s, func(now svc.Status) (bool, error) {
		switch {
		case now.State == svc.Stopped:
			return false, whyEnded(now)
		case now.State == svc.Running && now.Accepts&svc.AcceptParamChange != 0:
			return true, nil
		}
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the service runs, but does not serve after %v; its log says what it waits for", startWithin)
	}
	return err
}

const (
	startWithin = 2 * time.Minute
	lookEvery   = 200 * time.Millisecond
)

// Stop stops the service, and returns when it has ended.
func Stop(ctx context.Context) error {
	s, err := open(windows.SERVICE_STOP | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer s.Close()
	return stop(ctx, s)
}

// Reload has the service read its settings again.
func Reload(context.Context) error {
	s, err := open(windows.SERVICE_PAUSE_CONTINUE | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Control(svc.ParamChange)
	if errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) || errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) || errors.Is(err, windows.ERROR_INVALID_SERVICE_CONTROL) {
		return errors.New("the service does not serve at the moment, and reads its settings when it starts")
	}
	return plain(err)
}

// stop waits for as long as the service makes progress.
func stop(ctx context.Context, s *mgr.Service) error {
	_, err := s.Control(svc.Stop)
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE):
		return nil
	case err != nil && !errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL): // it ends already
		return plain(err)
	}
	seen, at := svc.Status{}, time.Now()
	_, err = until(ctx, s, func(now svc.Status) (bool, error) {
		if now.State != seen.State || now.CheckPoint != seen.CheckPoint {
			seen, at = now, time.Now()
		}
		if time.Since(at) > time.Minute {
			return false, errors.New("the service was told to end, and does not get on with it; its log says what it waits for")
		}
		return now.State == svc.Stopped, nil
	})
	return err
}

// until looks at the service until done is true or has an error.
func until(ctx context.Context, s *mgr.Service, done func(svc.Status) (bool, error)) (svc.Status, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now, err := s.Query()
		if err != nil {
			return now, plain(err)
		}
		if is, err := done(now); is || err != nil {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-tick.C:
		}
	}
}

// whyEnded is why a service is not running that should, with what it has said
// itself.
func whyEnded(now svc.Status) error {
	path := filepath.Join(dataDir(), logsFolder, errorsFile)
	specific := now.Win32ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR)
	words := "the service has ended"
	switch {
	case specific && now.ServiceSpecificExitCode == 2:
		words += ": its settings cannot be used"
	case specific:
		words += fmt.Sprintf(" with exit status %d", now.ServiceSpecificExitCode)
	case now.Win32ExitCode != 0 && now.Win32ExitCode != uint32(windows.ERROR_SERVICE_NEVER_STARTED):
		words += ": " + windows.Errno(now.Win32ExitCode).Error()
	}
	if said := lastErrors(path); said != "" {
		return fmt.Errorf("%s. It says:\n%s", words, said)
	}
	return fmt.Errorf("%s; the Event Log (Application, source %s) and %s say why", words, serviceName, path)
}

// lastErrors is what the service has written into the file of errors since it was
// last started, "" where that cannot be read.
func lastErrors(path string) string {
	const most = 2000 // bytes: a crash says much, and the first of it counts
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	at := bytes.LastIndex(text, []byte(begins+"\n"))
	if at < 0 {
		return ""
	}
	said := bytes.TrimSpace(text[at+len(begins)+1:])
	if len(said) > most {
		said = append(said[:most:most], " ... (the rest is in "+path+")"...)
	}
	return strings.ReplaceAll(string(said), "dynproxy: ", "  ")
}

// Status tells how the service is. Every user may ask.
func Status(context.Context) (State, error) {
	s, err := open(windows.SERVICE_QUERY_STATUS | windows.SERVICE_QUERY_CONFIG)
	if err != nil {
		return State{}, err
	}
	defer s.Close()
	now, err := s.Query()
	if err != nil {
		return State{}, plain(err)
	}
	state := State{Running: now.State == svc.Running}
	switch {
	case now.State == svc.Stopped && now.Win32ExitCode != 0 && now.Win32ExitCode != uint32(windows.ERROR_SERVICE_NEVER_STARTED):
		state.Words = whyEnded(now).Error()
	case now.State == svc.Stopped:
		state.Words = "the service is installed and does not run; dynproxy service start starts it"
	case now.State == svc.StopPending:
		state.Words = fmt.Sprintf("the service (process %d) ends: calls in flight are finished", now.ProcessId)
	case now.Accepts&svc.AcceptParamChange != 0:
		state.Words = fmt.Sprintf("the service (process %d) serves", now.ProcessId)
	default:
		state.Words = fmt.Sprintf("the service (process %d) starts", now.ProcessId)
	}
	if set, err := configOf(s); err == nil {
		state.Words += fmt.Sprintf("\nit runs %s\nas %s", set.command, set.account)
	}
	return state, nil
}

// open opens the service with the rights that are needed, and no more.
func open(rights uint32) (*mgr.Service, error) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, plain(err)
	}
	defer windows.CloseServiceHandle(m)
	return openIn(m, rights)
}

func openIn(m windows.Handle, rights uint32) (*mgr.Service, error) {
	s, err := windows.OpenService(m, wide(serviceName), rights)
	if err != nil {
		return nil, plain(err)
	}
	return &mgr.Service{Name: serviceName, Handle: s}, nil
}

// config is what the service manager runs.
type config struct{ command, account string }

func configOf(s *mgr.Service) (config, error) {
	size := uint32(8 << 10) // the largest that there is
	p := (*windows.QUERY_SERVICE_CONFIG)(aligned(size))
	if err := windows.QueryServiceConfig(s.Handle, p, size, &size); err != nil {
		return config{}, err
	}
	return config{windows.UTF16PtrToString(p.BinaryPathName), windows.UTF16PtrToString(p.ServiceStartName)}, nil
}

// plain says what an administrator can do about a refusal of the service manager.
func plain(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		return errNotInstalled
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return errors.New("this needs an administrator: open the command line with \"Run as administrator\"")
	case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return errors.New("the service is being removed; close the Services window and whatever else looks at it, and try again")
	case errors.Is(err, windows.ERROR_SERVICE_DISABLED):
		return fmt.Errorf("%w: sc.exe config %s start= auto enables it", ErrDisabled, serviceName)
	case errors.Is(err, windows.ERROR_SERVICE_LOGON_FAILED):
		return errors.New("the service's account cannot log on: its password, or its right to log on as a service, is missing")
	}
	return err
}

// wide is for texts without NUL.
func wide(s string) *uint16 {
	p, _ := windows.UTF16PtrFromString(strings.ReplaceAll(s, "\x00", ""))
	return p
}
