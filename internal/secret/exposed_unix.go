//go:build !windows

package secret

import (
	"os"
	"path/filepath"
	"strings"
)

// HowToHide is what is to be done about a file that others can read.
const HowToHide = "let only the proxy's user read it (chmod 600)"

// Exposed says who can read the file at path besides its owner and group, ""
// for nobody and for a file that cannot be looked at. What containers are given
// in /run/secrets is nobody else's there, whatever its mode.
func Exposed(path string) string {
	path, err := filepath.Abs(path)
	if err != nil || strings.HasPrefix(path, "/run/secrets/") || strings.HasPrefix(path, "/var/run/secrets/") {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	const othersRead, othersPass = 0o004, 0o001
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&othersRead == 0 || !info.Mode().IsRegular() {
		return ""
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&othersPass == 0 {
			return ""
		}
		if dir == filepath.Dir(dir) {
			return "every user of this machine"
		}
	}
}
