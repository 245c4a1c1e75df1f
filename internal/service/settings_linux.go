package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// writable are the folders of settings that the service itself changes, for
// operators who ask it to.
var writable = []string{settingsDir + "/tenants", settingsDir + "/callers"}

// Modes of the service's folders: what is written there gets their group, by
// which the service reads it. Nobody else does.
const (
	readByGroup    = os.ModeSetgid | 0o750
	writtenByGroup = os.ModeSetgid | 0o770
)

// prepareSettings makes the folders of settings, and gives to the service's
// group what root has written there before it was installed.
func prepareSettings() error {
	gid, err := serviceGroup()
	if err != nil {
		return err
	}
	for _, dir := range append([]string{settingsDir}, writable...) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	return filepath.WalkDir(settingsDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return share(path, entry, gid)
	})
}

func serviceGroup() (gid int, err error) {
	group, err := user.LookupGroup(serviceName)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(group.Gid)
}

// share gives one file or folder of root's group to the group gid. What has
// another group, and what a link leads to, is somebody's decision.
func share(path string, entry fs.DirEntry, gid int) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	owner, is := info.Sys().(*syscall.Stat_t)
	if !is || owner.Gid != 0 || !info.Mode().IsRegular() && !info.IsDir() {
		return nil
	}
	if err := os.Lchown(path, -1, gid); err != nil {
		return err
	}
	mode := info.Mode().Perm()&0o750 | 0o640
	if info.IsDir() {
		mode = readByGroup
		for _, dir := range writable {
			if path == dir {
				mode = writtenByGroup
			}
		}
	}
	return os.Chmod(path, mode)
}

// tellUnreadable tells of settings that the service's user cannot read, by
// trying it as that user.
func tellUnreadable(paths []string, warn Warn) {
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			warn(fmt.Sprintf("there is no %s yet: sudo dynproxy init --file %s writes it", path, path))
			continue
		}
		if err := readAs(path); err != nil {
			warn(fmt.Sprintf("the service's user %s cannot read %s: chgrp %s %s && chmod g+r %s, and let it into the folders above", serviceName, path, serviceName, path, path))
		}
	}
}

func readAs(path string) error {
	account, err := user.Lookup(serviceName)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	c := exec.Command("test", "-r", path)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return c.Run()
}
