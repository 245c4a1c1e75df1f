//go:build !windows && !linux

package service

import (
	"context"
	"errors"
)

var errNoSuch = errors.New("dynproxy makes itself a service on Windows and on Linux with systemd only: run dynproxy serve from this system's own service manager")

// DefaultEnvFile is where a service's settings are, unless somebody says otherwise.
func DefaultEnvFile() string { return "/etc/dynproxy/dynproxy.env" }

// Install installs the service, or brings one that is there up to plan. It
// does not start it.
func Install(context.Context, Plan, Warn) error { return errNoSuch }

// Uninstall stops and removes the service. Settings and what it has kept stay.
func Uninstall(context.Context, Warn) error { return errNoSuch }

// Start starts the service, and returns when it serves.
func Start(context.Context) error { return errNoSuch }

// Stop stops the service, and returns when it has ended.
func Stop(context.Context) error { return errNoSuch }

// Reload has the service read its settings again.
func Reload(context.Context) error { return errNoSuch }

// Status tells how the service is.
func Status(context.Context) (State, error) { return State{}, errNoSuch }

// Environment is what the service's own environment adds to the system's: here
// the process has all of it already.
func Environment() []string { return nil }

// Defaults are those of settings which are others for a service: none here, where
// its settings' file says all.
func Defaults([]string) map[string]string { return nil }

// EnvFiles are the settings' files that the installed service reads.
func EnvFiles(context.Context) ([]string, error) { return nil, errNoSuch }
