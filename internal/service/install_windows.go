package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

const (
	ownAccount  = `NT SERVICE\` + serviceName // made by the system with the service, and gone with it
	localSystem = "LocalSystem"
	localLeast  = `NT AUTHORITY\LocalService`

	displayName = "dynproxy"
	description = "Lets applications of this network call Microsoft Dataverse organizations: tokens, limits and links are its business."
)

// Install installs the service, or brings one that is there up to plan. It
// does not start it.
//
// What stays as it is of a service that is there: an account that somebody has
// given it, other than LocalSystem, and whether it starts by itself.
func Install(ctx context.Context, plan Plan, warn Warn) error {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return plain(err)
	}
	defer windows.CloseServiceHandle(m)
	s, account, err := register(m, &plan, warn)
	if err != nil {
		return err
	}
	defer s.Close()
	configure(s, plan, warn)
	if err := makeFolders(dataDir(), account); err != nil {
		return err
	}
	if err := provide(plan.EnvFiles, warn); err != nil {
		return err
	}
	letRead(plan.EnvFiles, dataDir(), account, warn)
	if plan.ListenOn != nil {
		if err := setVariable("DYNPROXY_LISTEN", *plan.ListenOn); err != nil {
			return fmt.Errorf("the service's environment cannot be changed: %w", err)
		}
	}
	if err := registerEvents(); err != nil {
		warn(fmt.Sprintf("the event source cannot be registered, so Event Viewer shows events without their text: %v", err))
	}
	if plan.Shut {
		closeFirewall(ctx)
	}
	if plan.Listen == nil {
		return nil
	}
	address, err := plan.Listen(plan.EnvFiles)
	if err != nil {
		return err
	}
	return openFirewall(ctx, plan.Program, address, warn)
}

// register makes the service known to the service manager m. plan has the
// settings' files then that the service is run with.
func register(m windows.Handle, plan *Plan, warn Warn) (s *mgr.Service, account string, err error) {
	s, err = openIn(m, windows.SERVICE_ALL_ACCESS)
	if err == nil {
		account, err = update(s, plan, warn)
		return s, account, err
	}
	if !errors.Is(err, errNotInstalled) {
		return nil, "", err
	}
	if len(plan.EnvFiles) == 0 {
		plan.EnvFiles = []string{DefaultEnvFile()}
	}
	create := func(account string) (windows.Handle, error) {
		return windows.CreateService(m, wide(serviceName), wide(displayName), windows.SERVICE_ALL_ACCESS, windows.SERVICE_WIN32_OWN_PROCESS,
			windows.SERVICE_AUTO_START, windows.SERVICE_ERROR_NORMAL, wide(commandLine(*plan)), nil, nil, nil, wide(account), nil)
	}
	account = ownAccount
	h, err := create(account)
	if refusedAccount(err) {
		warn(fmt.Sprintf("the service manager knows no %s (%v); the service runs as %s, which has few rights but shares them with other services", ownAccount, err, localLeast))
		account = localLeast
		h, err = create(account)
	}
	if err != nil {
		return nil, "", plain(err)
	}
	return &mgr.Service{Name: serviceName, Handle: h}, account, nil
}

// refusedAccount reports whether err may come from a service manager that has
// no accounts for services.
func refusedAccount(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_SERVICE_ACCOUNT) || errors.Is(err, windows.ERROR_INVALID_LEVEL) || errors.Is(err, windows.ERROR_NONE_MAPPED)
}

// update brings a service that is there up to plan.
func update(s *mgr.Service, plan *Plan, warn Warn) (account string, err error) {
	now, err := configOf(s)
	if err != nil {
		return "", plain(err)
	}
	if len(plan.EnvFiles) == 0 {
		plan.EnvFiles = envFilesOf(now.command)
	}
	account = now.account
	var change *uint16
	if account == "" || strings.EqualFold(account, localSystem) {
		account, change = ownAccount, wide(ownAccount)
	}
	set := func(account *uint16) error {
		var password *uint16
		if account != nil {
			password = wide("") // nil would keep that of the former account
		}
		return windows.ChangeServiceConfig(s.Handle, windows.SERVICE_NO_CHANGE, windows.SERVICE_NO_CHANGE, windows.SERVICE_NO_CHANGE,
			wide(commandLine(*plan)), nil, nil, nil, account, password, wide(displayName))
	}
	err = set(change)
	if change != nil && refusedAccount(err) {
		warn(fmt.Sprintf("the service manager knows no %s (%v); the service goes on as %s", ownAccount, err, now.account))
		account, err = now.account, set(nil)
	}
	return account, plain(err)
}

// commandLine is what the service manager runs. Its paths are always quoted: a
// blank in one would let another program be run.
func commandLine(plan Plan) string {
	line := quoted(plan.Program) + " serve --service"
	for _, path := range plan.EnvFiles {
		line += " --env-file " + quoted(path)
	}
	return line
}

// quoted is for paths, which hold no quotation marks on Windows.
func quoted(path string) string { return `"` + path + `"` }

// envFilesOf are the settings' files of a command line.
func envFilesOf(command string) []string {
	words, err := windows.DecomposeCommandLine(command)
	var all []string
	for i, word := range words {
		if word == "--env-file" && err == nil && i+1 < len(words) {
			all = append(all, words[i+1])
		}
	}
	if len(all) == 0 {
		return []string{DefaultEnvFile()}
	}
	return all
}

// Windows waits so long for the service when the machine is shut down: for calls
// in flight.
const preshutdown = 3 * time.Minute

// restarts are what the service manager does after a crash and after an end with
// an error: the first time, the second, and from then on.
var restarts = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 5 * time.Minute},
}

// configure sets what a service can live without, on a service manager that does
// not know it.
func configure(s *mgr.Service, plan Plan, warn Warn) {
	delayed := windows.SERVICE_DELAYED_AUTO_START_INFO{}
	if plan.Delayed != nil && *plan.Delayed {
		delayed.IsDelayedAutoStartUp = 1
	}
	sid := uint32(windows.SERVICE_SID_TYPE_UNRESTRICTED)
	wait := uint32(preshutdown.Milliseconds())
	about := windows.SERVICE_DESCRIPTION{Description: wide(description)}
	set := func(level uint32, info unsafe.Pointer) error {
		return windows.ChangeServiceConfig2(s.Handle, level, (*byte)(info))
	}
	setDelayed := func() error {
		if plan.Delayed == nil {
			return nil
		}
		return set(windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&delayed))
	}
	for _, one := range []struct {
		what string
		err  error
	}{
		{"its description", set(windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&about))},
		{"the restart after a crash", s.SetRecoveryActions(restarts, uint32((24 * time.Hour).Seconds()))},
		{"the restart after an end with an error", s.SetRecoveryActionsOnNonCrashFailures(true)},
		{"the time for calls in flight when the machine is shut down", set(windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, unsafe.Pointer(&wait))},
		{"its own security identifier", set(windows.SERVICE_CONFIG_SERVICE_SID_INFO, unsafe.Pointer(&sid))},
		{"its delayed start", setDelayed()},
	} {
		if one.err != nil {
			warn(fmt.Sprintf("this service manager does not take %s (%v); the rest of the service is as it should be", one.what, one.err))
		}
	}
}

// Uninstall stops and removes the service. Settings and what it has kept stay.
func Uninstall(ctx context.Context, warn Warn) error {
	err := remove(ctx)
	if errors.Is(err, errNotInstalled) {
		warn("the service is not installed; what may be left of it is removed")
		err = nil
	}
	if err != nil {
		return err
	}
	if err := unregisterEvents(); err != nil {
		warn(fmt.Sprintf("the event source stays registered: %v", err))
	}
	closeFirewall(ctx)
	warn("settings, and what the service has kept, stay in " + dataDir())
	return nil
}

func remove(ctx context.Context) error {
	s, err := open(windows.SERVICE_STOP | windows.SERVICE_QUERY_STATUS | windows.DELETE)
	if err != nil {
		return err
	}
	err = errors.Join(stop(ctx, s), plain(s.Delete()))
	s.Close()
	if err != nil {
		return err
	}
	for range 25 {
		s, err := open(windows.SERVICE_QUERY_STATUS)
		if err != nil {
			break
		}
		s.Close()
		time.Sleep(lookEvery)
	}
	return nil
}

// aligned is memory for a structure of the system with texts behind it.
func aligned(bytes uint32) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(slices.Grow([]uint64(nil), int(bytes+7)/8)))
}
