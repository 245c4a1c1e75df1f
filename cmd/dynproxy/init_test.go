package main

import (
	"path/filepath"
	"testing"

	"dynproxy/internal/service"
)

// Who may install a service writes its settings, others write where they stand.
func TestInitWritesWhereTheServiceReads(t *testing.T) {
	if got := settingsFile(true); got != service.DefaultEnvFile() || !filepath.IsAbs(got) {
		t.Errorf("with rights: %s", got)
	}
	if got := settingsFile(false); filepath.IsAbs(got) {
		t.Errorf("without: %s", got)
	}
	s := beginning{file: settingsFile(true)}
	if got := s.values(); got["STATE_DIR"] != service.StateDir() || filepath.Dir(got["TENANTS_DIR"]) != filepath.Dir(service.DefaultEnvFile()) {
		t.Errorf("a service's settings: %v", got)
	}
}
