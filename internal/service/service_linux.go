package service

import (
	"context"
	"errors"
)

var errNotYet = errors.New("this version writes no systemd unit: run dynproxy serve from a unit of your own")

// DefaultEnvFile is where a service's settings are, unless somebody says otherwise.
func DefaultEnvFile() string { return "/etc/dynproxy/dynproxy.env" }

// Install installs the service, or brings one that is there up to plan. It
// does not start it.
func Install(context.Context, Plan, Warn) error { return errNotYet }

// Uninstall stops and removes the service. Settings and what it has kept stay.
func Uninstall(context.Context, Warn) error { return errNotYet }

// Start starts the service, and returns when it serves.
func Start(context.Context) error { return errNotYet }

// Stop stops the service, and returns when it has ended.
func Stop(context.Context) error { return errNotYet }

// Status tells how the service is.
func Status(context.Context) (State, error) { return State{}, errNotYet }

// Environment is what the service's own environment adds to the system's: here
// the process has all of it already.
func Environment() []string { return nil }

// EnvFiles are the settings' files that the installed service reads.
func EnvFiles(context.Context) ([]string, error) { return nil, errNotYet }
