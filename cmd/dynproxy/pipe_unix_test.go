//go:build unix

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/envfile"
)

// A pipe in the place of any file or directory stops no start: it is a fault of
// its setting, or costs no more than what the file is for.
func TestAPipeInThePlaceOfAFileStopsNothing(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"OTEL_EXPORTER_OTLP_CERTIFICATE", "--env-file"}
	for _, name := range envfile.Names[settings]() {
		if strings.HasSuffix(name, "_FILE") || strings.HasSuffix(name, "_DIR") {
			names = append(names, prefix+name)
		}
	}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() { startWithPipe(t, name, pipe) })
	}
	all.Wait()
}

func startWithPipe(t *testing.T, name, pipe string) {
	settings := with("SERVICE_PRINCIPAL=HTTP/proxy.example.com", "CALLERS_DIR="+t.TempDir())
	args := []string{"config"}
	switch name {
	case "--env-file":
		args = append(args, name, pipe)
	case prefix + "CLIENT_SECRET_FILE", prefix + "CLIENT_CERTIFICATE_FILE", prefix + "FEDERATED_TOKEN_FILE":
		settings[prefix+"CLIENT_SECRET"] = ""
	case prefix + "KEYTAB_FILE":
	case prefix + "CALLER_CA_FILE", prefix + "TLS_CERT_FILE", prefix + "TLS_KEY_FILE":
		settings[prefix+"TLS_CERT_FILE"], settings[prefix+"TLS_KEY_FILE"] = "main.go", "main.go"
	case prefix + "OPS_TLS_CERT_FILE", prefix + "OPS_TLS_KEY_FILE":
		settings[prefix+"OPS_TLS_CERT_FILE"], settings[prefix+"OPS_TLS_KEY_FILE"] = "main.go", "main.go"
	}
	if name != prefix+"KEYTAB_FILE" {
		delete(settings, prefix+"SERVICE_PRINCIPAL")
	}
	if strings.HasPrefix(name, "OTEL_") {
		settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = "https://127.0.0.1:1"
	}
	settings[name] = pipe
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var out, said bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- exitStatus(run(t.Context(), args, environ, &out, &said), &said) }()
	select {
	case status := <-ended:
		// These are told of while the proxy runs, and cost no call.
		later := map[string]bool{"STATE_DIR": true, "SPOOL_DIR": true, "PUBLISHER_LOGO_FILE": true, "FEDERATED_TOKEN_FILE": true}[strings.TrimPrefix(name, prefix)]
		if told := strings.Contains(said.String(), name); told == later || (status == 2) == later {
			t.Errorf("%s: status %d\n%s", name, status, said.String())
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: it stands still", name)
	}
}
