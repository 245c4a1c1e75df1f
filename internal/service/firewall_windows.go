package service

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// ruleName names the firewall's rule, which is ours alone.
const ruleName = serviceName

// openFirewall lets callers in at the port of address, to this program only.
func openFirewall(ctx context.Context, program, address string, warn Warn) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("LISTEN is no host:port, so there is no port to open: %w", err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost") {
		warn("LISTEN is loopback: the firewall's rule is made, but only this machine can connect before LISTEN names another address")
	}
	closeFirewall(ctx)
	said, err := netsh(ctx, "advfirewall", "firewall", "add", "rule", "name="+ruleName, "dir=in", "action=allow", "protocol=TCP",
		"localport="+port, "program="+program, "profile=domain,private", "description=Callers of "+displayName)
	if err != nil {
		warn(fmt.Sprintf("the firewall could not be opened for port %s (%v: %s); callers from other machines may not get through", port, err, said))
	}
	return nil
}

// closeFirewall removes the rule, if there is one.
func closeFirewall(ctx context.Context) {
	netsh(ctx, "advfirewall", "firewall", "delete", "rule", "name="+ruleName)
}

func netsh(ctx context.Context, args ...string) (said string, err error) {
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(within, filepath.Join(system, "netsh.exe"), args...).CombinedOutput()
	return strings.Join(strings.Fields(string(out)), " "), err
}
