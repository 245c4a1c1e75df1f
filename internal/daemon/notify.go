package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells systemd that the service serves, or serves again after
// Reloading. Status is a line for people (systemctl status). Where systemd has
// not started the process, nobody is told anything; so it is with the others.
func Ready(status string) error { return notify(daemon.SdNotifyReady, statusLine(status)) }

// Status tells systemd a new line for people.
func Status(status string) error { return notify(statusLine(status)) }

// Stopping tells systemd that the service ends, and that this may take as long
// as within, whatever its TimeoutStopSec is.
func Stopping(status string, within time.Duration) error {
	return notify(daemon.SdNotifyStopping, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()), statusLine(status))
}

// Reloading tells systemd that settings are being read again. Ready must follow.
func Reloading() error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	return notify(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Microseconds()))
}

func statusLine(status string) string { return "STATUS=" + strings.ReplaceAll(status, "\n", " ") }

func notify(lines ...string) error {
	_, err := daemon.SdNotify(false, strings.Join(lines, "\n"))
	return err
}

// Watchdog feeds systemd's watchdog, if there is one, while alive gives no
// error, until ctx ends. alive is asked twice in the time that systemd allows,
// and must answer within a quarter of it. starved, which may be nil, is told
// why the watchdog is not fed.
func Watchdog(ctx context.Context, alive func(context.Context) error, starved func(error)) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		within, cancel := context.WithTimeout(ctx, every/4)
		err := alive(within)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			notify(daemon.SdNotifyWatchdog)
		case starved != nil:
			starved(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
