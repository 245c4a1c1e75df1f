package envfile

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Resolve returns the values of a file in the folder dir, with the paths among
// them led from there: those of the variables called *_FILE and *_DIR. So they
// mean the same to every process, wherever it runs.
func Resolve(dir string, values map[string]string) map[string]string {
	resolved := maps.Clone(values)
	for name, value := range values {
		if strings.HasSuffix(name, "_FILE") || strings.HasSuffix(name, "_DIR") {
			resolved[name] = resolve(dir, value)
		}
	}
	return resolved
}

func resolve(dir, path string) string {
	switch {
	case path == "" || filepath.IsAbs(path):
		return path
	case os.IsPathSeparator(path[0]): // Windows: of the drive that dir is on
		return filepath.VolumeName(dir) + path
	case filepath.VolumeName(path) != "": // Windows: D:file, where drive D stands
		return path
	}
	return filepath.Join(dir, path)
}
