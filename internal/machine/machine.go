// Package machine is what the process knows of the machine that it runs on, and
// takes of it: names and addresses, open files, and memory.
package machine

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Names are the names of this machine, in lower case.
func Names() []string {
	names := []string{"localhost"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, strings.ToLower(name))
		// Where there is no name service, the start must not wait for it.
		soon, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if full, err := net.DefaultResolver.LookupCNAME(soon, name); err == nil {
			names = append(names, strings.ToLower(strings.TrimSuffix(full, ".")))
		}
	}
	return names
}

// Addresses are the addresses of this machine, in no order.
func Addresses() []string {
	own := []string{"127.0.0.1", "::1"}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return own
	}
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok && !slices.Contains(own, network.IP.String()) {
			own = append(own, network.IP.String())
		}
	}
	return own
}
