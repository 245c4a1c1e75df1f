package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"

	"dynproxy/internal/service"
)

// serveManaged is serveHere for a service manager, which is told an exit status
// and, as an event, why.
func (w *cli) serveManaged(ctx context.Context, manager *service.Host) int {
	own := *w
	own.stderr, own.stdout = manager.Errors, manager.Errors
	own.more = service.Environment
	own.defaults = map[string]string{
		prefix + "STATE_DIR": filepath.Join(manager.Data, "state"),
		prefix + "LOG_FILE":  filepath.Join(manager.Data, "logs", "dynproxy.log"),
	}
	err := own.serveHere(ctx, manager)
	var words bytes.Buffer
	code := exitStatus(err, io.MultiWriter(&words, own.stderr))
	manager.Tell(lastEvent(err, code, manager.HasServed()), strings.ReplaceAll(words.String(), "dynproxy: ", ""))
	return code
}

// lastEvent is what a service's end is told as.
func lastEvent(err error, code int, served bool) service.Event {
	switch {
	case err == nil:
		return service.Stopped
	case served:
		return service.EndedByError
	case code == 2:
		return service.SettingsRefused
	}
	return service.StartFailed
}

// manager is the service manager under which the proxy runs, nil without one.
func (h *server) manager() *service.Host {
	if h.again == nil {
		return nil
	}
	return h.again.manager
}
