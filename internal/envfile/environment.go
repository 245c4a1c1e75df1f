package envfile

import (
	"errors"
	"path/filepath"
	"strings"
)

// Environment merges files of NAME=value under the process's own environment,
// which wins. Of the files, the later wins. Paths in a file lead from the folder
// that it is in. What stands around a value is no part of it, wherever it comes
// from: a secret of Kubernetes often ends with the line break of an echo.
func Environment(environ, files []string) (map[string]string, error) {
	merged := make(map[string]string)
	var faults Faults
	for _, path := range files {
		values, err := read(path)
		lines, wrong := errors.AsType[Faults](err)
		for _, line := range lines {
			faults.Add("--env-file", "%s: %s", path, line)
		}
		if err != nil && !wrong {
			faults.Add("--env-file", "%v", err)
		}
		merged = Merge(merged, Resolve(filepath.Dir(path), values))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			merged[name] = strings.TrimSpace(strings.ReplaceAll(value, "\ufeff", ""))
		}
	}
	return merged, nil
}
