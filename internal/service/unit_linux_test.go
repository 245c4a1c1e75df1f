package service

import (
	"os"
	"slices"
	"strings"
	"testing"

	"dynproxy/deploy/systemd"
)

// The unit that is written is the one that packages bring, with other paths.
func TestTheUnitIsThePackagesWithPathsOfItsOwn(t *testing.T) {
	if got := unitOf(Plan{Program: "/usr/bin/dynproxy", EnvFiles: []string{DefaultEnvFile()}}); got != systemd.Service {
		t.Errorf("with a package's paths it is another:\n%s", got)
	}
	files := []string{"/etc/dynproxy/dynproxy.env", `/srv/a b/100%$HOME "x".env`, "/etc/second.env"}
	unit := unitOf(Plan{Program: "/opt/new version/dynproxy", EnvFiles: files})
	want := `ExecStart="/opt/new version/dynproxy" serve --env-file /etc/dynproxy/dynproxy.env --env-file "/srv/a b/100%%$$HOME \"x\".env" --env-file /etc/second.env`
	if !strings.Contains(unit, "\n"+want+"\n") || strings.Count(unit, "ExecStart=") != 1 {
		t.Errorf("%s", unit)
	}
	if got := envFilesOf(unit); !slices.Equal(got, files) {
		t.Errorf("read again: %q", got)
	}
	if got := envFilesOf("[Service]\nExecStart=/bin/other\n"); got != nil {
		t.Errorf("%q", got)
	}
}

func TestWhatAServiceCannotReachIsRefused(t *testing.T) {
	for path, refused := range map[string]bool{
		"/home/ann/dynproxy": true, "/root/dynproxy.env": true, "/tmp/x/dynproxy": true, "/run/user/1000/x": true,
		"/usr/local/bin/dynproxy": false, "/srv/home/dynproxy": false, "/etc/dynproxy/dynproxy.env": false,
	} {
		err := reachable(path)
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "/usr/local/bin") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatStatusSays(t *testing.T) {
	for said, want := range map[string]State{
		"LoadState=not-found\nActiveState=inactive\n": {Words: "the service is not installed; dynproxy service install does that"},
		"LoadState=loaded\nActiveState=active\nStatusText=serving 2 tenants at 127.0.0.1:8080\nMainPID=7\nActiveEnterTimestamp=Fri 2026-11-27 12:49:16 UTC\nUnitFileState=enabled\nFragmentPath=/u\n": {
			Running: true, Words: "running since Fri 2026-11-27 12:49:16 UTC (process 7): serving 2 tenants at 127.0.0.1:8080\nstarts with the system; unit /u"},
		"LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=2\nUnitFileState=disabled\nFragmentPath=/u\n": {
			Words: "failed (exit-code, exit status 2); why: journalctl -u dynproxy\ndoes not start with the system; unit /u"},
		"LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=watchdog\nExecMainStatus=6\nUnitFileState=enabled\nFragmentPath=/u\n": {
			Words: "failed (watchdog, exit status 6); why: journalctl -u dynproxy\nstarts with the system; unit /u"},
		"LoadState=loaded\nActiveState=inactive\nSubState=dead\nStatusText=old\nUnitFileState=enabled\nFragmentPath=/u\n": {
			Words: "not running (inactive)\nstarts with the system; unit /u"},
	} {
		if got := stateOf(said); got != want {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
}

// Without systemd, and without the right, that is what is said.
func TestWhoCannotInstallIsTold(t *testing.T) {
	want := "only root may do that: sudo dynproxy service install"
	if booted() != nil {
		want = "systemd does not run this machine"
	} else if os.Geteuid() == 0 {
		return // a test installs nothing on somebody's machine
	}
	for what, err := range map[string]error{
		"install":   Install(t.Context(), Plan{}, func(string) {}),
		"uninstall": Uninstall(t.Context(), func(string) {}), "start": Start(t.Context()), "stop": Stop(t.Context()),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), strings.Replace(want, "install", what, 1)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
