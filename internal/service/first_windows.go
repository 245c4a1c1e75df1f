package service

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"

	"dynproxy/internal/textfile"
)

// first is the settings file of a service that nobody has written one for.
//
//go:embed first.env
var first string

// firstSettings is first for the service's folder.
func firstSettings(dir string) []byte {
	return textfile.Lines(strings.ReplaceAll(first, "{data}", dir))
}

// provide lays down the first settings in the service's folder if they are among
// envFiles and missing. What is missing elsewhere is its administrator's to write.
func provide(envFiles []string, warn Warn) error {
	for _, path := range envFiles {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if !strings.EqualFold(path, DefaultEnvFile()) {
			warn(fmt.Sprintf("%s is not there yet: dynproxy init --file %s writes it", path, quoted(path)))
			continue
		}
		if err := layDown(path); err != nil {
			return err
		}
		warn(fmt.Sprintf("%s is new and waits to be filled in: by hand, or by dynproxy init --file %s --replace", path, quoted(path)))
	}
	return nil
}

// layDown writes the first settings to path, where nothing is yet.
func layDown(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(firstSettings(dataDir()))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
