package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dynproxy/deploy/systemd"
	"dynproxy/internal/textfile"
)

const serviceName = "dynproxy" // of unit, user and group

// Where the service's files are.
const (
	settingsDir = "/etc/dynproxy"
	ownUnits    = "/etc/systemd/system"
	serviceUnit = serviceName + ".service"
	socketUnit  = serviceName + ".socket"
)

// packagedUnits is where packages of a distribution put theirs.
var packagedUnits = []string{"/usr/lib/systemd/system", "/lib/systemd/system"}

// DefaultEnvFile is where a service's settings are, unless somebody says otherwise.
func DefaultEnvFile() string { return settingsDir + "/dynproxy.env" }

// Install installs the service, or brings one that is there up to plan. It
// does not start it.
func Install(ctx context.Context, plan Plan, warn Warn) error {
	if err := mayChange("install"); err != nil {
		return err
	}
	if err := completed(&plan); err != nil {
		return err
	}
	tellMeaningless(plan, warn)
	if err := command(ctx, systemd.Users, "systemd-sysusers", "-"); err != nil {
		return err
	}
	if err := prepareSettings(); err != nil {
		return err
	}
	if err := writeUnits(plan); err != nil {
		return err
	}
	units := []string{serviceUnit}
	if plan.Socket {
		units = append(units, socketUnit)
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if err := systemctl(ctx, append([]string{"enable"}, units...)...); err != nil {
		return err
	}
	tellUnreadable(plan.EnvFiles, warn)
	return nil
}

// completed fills in what plan leaves to what is there, and refuses what a
// service could not reach.
func completed(plan *Plan) (err error) {
	if plan.Program, err = filepath.EvalSymlinks(plan.Program); err != nil {
		return err
	}
	if len(plan.EnvFiles) == 0 {
		if plan.EnvFiles, err = EnvFiles(context.Background()); err != nil {
			plan.EnvFiles = []string{DefaultEnvFile()}
		}
	}
	for _, path := range append([]string{plan.Program}, plan.EnvFiles...) {
		if err := reachable(path); err != nil {
			return err
		}
	}
	return nil
}

// tellMeaningless tells what of plan has no place under systemd.
func tellMeaningless(plan Plan, warn Warn) {
	if plan.Delayed != nil && *plan.Delayed {
		warn("--delayed means nothing to systemd: the service starts when the network is up")
	}
	if plan.ListenOn != nil {
		warn("--listen is for Windows: here LISTEN stands in the settings")
	}
	if plan.Listen != nil || plan.Shut {
		warn("--firewall is for Windows: let callers through by what this machine has (firewall-cmd, ufw, nft)")
	}
}

// mayChange reports why this process cannot change services.
func mayChange(verb string) error {
	if err := booted(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root may do that: sudo dynproxy service %s", verb)
	}
	return nil
}

// booted reports where systemd is not what runs this machine.
func booted() error {
	if info, err := os.Stat("/run/systemd/system"); err != nil || !info.IsDir() {
		return errors.New("systemd does not run this machine (a container, or another system of services): run dynproxy serve by what starts programs here")
	}
	return nil
}

// reachable refuses what the service, which sees no home and a /tmp of its own,
// could not open.
func reachable(path string) error {
	for _, hidden := range []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"} {
		if strings.HasPrefix(path, hidden) {
			return fmt.Errorf("%s cannot be reached by a service, which sees nothing of %s: copy it first, the program by install -m 755 to /usr/local/bin, settings to %s", path, strings.TrimSuffix(hidden, "/"), settingsDir)
		}
	}
	return nil
}

// writeUnits writes both units. What a package brought that says the same is
// not said again.
func writeUnits(plan Plan) error {
	for name, text := range map[string]string{serviceUnit: unitOf(plan), socketUnit: systemd.Socket} {
		own := filepath.Join(ownUnits, name)
		if slices.ContainsFunc(packagedUnits, func(dir string) bool {
			packaged, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && string(packaged) == text
		}) {
			if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		if err := textfile.Replace(own, []byte(text)); err != nil {
			return err
		}
		if err := os.Chmod(own, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Uninstall stops and removes the service. Settings and what it has kept stay.
func Uninstall(ctx context.Context, warn Warn) error {
	if err := mayChange("uninstall"); err != nil {
		return err
	}
	if err := installed(ctx); err != nil {
		return err
	}
	if err := systemctl(ctx, "disable", "--now", socketUnit, serviceUnit); err != nil {
		return err
	}
	for _, name := range []string{serviceUnit, socketUnit} {
		if err := os.Remove(filepath.Join(ownUnits, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if err := installed(ctx); !errors.Is(err, errNotInstalled) {
		warn("the service is off; its files belong to the package, and go with it")
		return err
	}
	return nil
}

// Start starts the service, and returns when it serves.
func Start(ctx context.Context) error {
	if err := mayChange("start"); err != nil {
		return err
	}
	if err := installed(ctx); err != nil {
		return err
	}
	if state, err := Status(ctx); err != nil || state.Running {
		return err
	}
	// A port that systemd opens must be there before who takes it over.
	if _, err := output(ctx, "systemctl", "is-enabled", "--quiet", socketUnit); err == nil {
		if err := systemctl(ctx, "start", socketUnit); err != nil {
			return err
		}
	}
	if err := systemctl(ctx, "start", serviceUnit); err != nil {
		return fmt.Errorf("the service did not start; what it said last (all of it: journalctl -u %s):\n%s", serviceName, lastLines(ctx))
	}
	return nil
}

// Stop stops the service, and returns when it has ended.
func Stop(ctx context.Context) error {
	if err := mayChange("stop"); err != nil {
		return err
	}
	if err := installed(ctx); err != nil {
		return err
	}
	// Without the port, or the next caller would start it again.
	return systemctl(ctx, "stop", socketUnit, serviceUnit)
}

// Reload has the service read its settings again.
func Reload(ctx context.Context) error {
	if err := mayChange("reload"); err != nil {
		return err
	}
	if err := installed(ctx); err != nil {
		return err
	}
	return systemctl(ctx, "reload", serviceUnit)
}

// Environment is what the service's own environment adds to the system's: here
// the process has all of it already.
func Environment() []string { return nil }

// Defaults are those of settings which are others for a service: none here, where
// its settings' file says all.
func Defaults([]string) map[string]string { return nil }

// EnvFiles are the settings' files that the installed service reads.
func EnvFiles(context.Context) ([]string, error) {
	for _, dir := range append([]string{ownUnits}, packagedUnits...) {
		unit, err := os.ReadFile(filepath.Join(dir, serviceUnit))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		files := envFilesOf(string(unit))
		if err == nil && len(files) == 0 {
			err = errors.New("the unit in " + dir + " names no settings' file")
		}
		return files, err
	}
	return nil, errNotInstalled
}
