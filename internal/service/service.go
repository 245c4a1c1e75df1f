// Package service makes the proxy a service of the system under it: Windows'
// service manager, or systemd. It installs it, starts and stops it, says how it
// is, and on Windows it is what the service manager talks to.
package service

import "errors"

// Plan is a service as it shall be.
type Plan struct {
	Program  string   // path of the program
	EnvFiles []string // absolute paths of its settings, of several the later wins; none for those it has, or DefaultEnvFile
	Delayed  *bool    // whether it starts after the other services of the system; nil as it is
	ListenOn *string  // where callers connect whatever EnvFiles say, host:port; "" by them, nil as it is (Windows)
	Shut     bool     // whether the firewall's rule is taken away
	Socket   bool     // whether systemd opens the callers' port

	// Listen returns where callers connect by these settings, host:port, for which
	// the system's firewall is opened; nil leaves the firewall alone.
	Listen func(envFiles []string) (string, error)
}

// ErrDisabled is in the error of a service that somebody has disabled.
var ErrDisabled = errors.New("the service is disabled")

// State is how the service is now.
type State struct {
	Running bool
	Words   string // for people, one line or several
}

// Warn is told what could not be done, and what that means, where the service
// works all the same.
type Warn func(words string)
