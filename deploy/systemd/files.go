// Package systemd holds the files of the service under systemd, as packages
// install them and as dynproxy service install writes them.
package systemd

import _ "embed" // for what stands below

// Service is the unit of the proxy, with the paths of a package.
//
//go:embed dynproxy.service
var Service string

// Socket is the unit by which systemd opens the callers' port.
//
//go:embed dynproxy.socket
var Socket string

// Users is the service's user, as systemd-sysusers reads it.
//
//go:embed dynproxy.sysusers
var Users string
