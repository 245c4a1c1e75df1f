package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"dynproxy/internal/daemon"
	"dynproxy/internal/emulator"
	"dynproxy/internal/logqueue"
	"dynproxy/internal/textfile"
)

// The people of the demo and of the emulator, so that their addresses and
// settings can be written down.
const (
	demoClientID = "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"
	demoSecret   = "demo-secret-that-opens-nothing"
)

// demoSeed is an Entra ID and three organizations in different states.
func demoSeed() emulator.Seed {
	return emulator.Seed{
		Apps: []emulator.App{{ClientID: demoClientID, Name: "dynproxy demo", Secrets: []string{demoSecret}}},
		Organizations: []emulator.OrganizationSeed{
			{Name: "contoso", TenantID: "11111111-1111-4111-8111-111111111111", Consented: []string{demoClientID}, ApplicationUsers: []string{demoClientID}},
			{Name: "fabrikam", TenantID: "22222222-2222-4222-8222-222222222222"},
			{Name: "northwind", TenantID: "33333333-3333-4333-8333-333333333333", Consented: []string{demoClientID}},
		},
	}
}

// localEmulator is a started emulator and the file that holds its authority.
type localEmulator struct {
	*emulator.Emulator
	folder string
}

func newLocalEmulator(addr string, seed emulator.Seed) (*localEmulator, error) {
	e, err := emulator.New(seed)
	if err != nil {
		return nil, err
	}
	if err := e.Start(addr); err != nil {
		return nil, fmt.Errorf("start the emulator: %w", err)
	}
	p := &localEmulator{Emulator: e}
	if p.folder, err = os.MkdirTemp("", "dynproxy-emulator-"); err == nil {
		err = os.WriteFile(p.caFile(), e.CA(), 0o600)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("the emulator's certificate cannot be written below %s: %w; set TMPDIR to another directory", os.TempDir(), textfile.Reason(err))
	}
	return p, nil
}

func (p *localEmulator) caFile() string { return filepath.Join(p.folder, "ca.pem") }

func (p *localEmulator) close() {
	p.Close()
	if p.folder != "" {
		os.RemoveAll(p.folder)
	}
}

// settings returns what a proxy needs to use the emulator.
func (p *localEmulator) settings(names ...string) map[string]string {
	var list, hosts []string
	for _, name := range names {
		list = append(list, name+"="+p.OrgURL(name))
		hosts = append(hosts, strings.TrimPrefix(p.OrgURL(name), "https://"))
	}
	return map[string]string{
		prefix + "CLIENT_ID": demoClientID, prefix + "CLIENT_SECRET": demoSecret,
		prefix + "TENANTS":             strings.Join(list, ","),
		prefix + "ALLOWED_ORG_HOSTS":   strings.Join(hosts, ","),
		prefix + "ALLOWED_LOGIN_HOSTS": p.LoginHost(),
		prefix + "TRUSTED_CA_FILE":     p.caFile(),
	}
}

func (w *cli) demo() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Run the proxy against an embedded Entra ID and Dataverse, with no set-up",
		Long: "Runs the proxy against an embedded Entra ID and three organizations on loopback, and prints curl lines to try.\n" +
			"Nothing leaves this machine. LISTEN, OPS_LISTEN, the tenants' limits, the log's settings and OpenTelemetry's are heeded.",
		RunE: func(c *cobra.Command, _ []string) error { return w.runDemo(c.Context()) },
	}
}

func (w *cli) runDemo(ctx context.Context) error {
	environ, err := w.environment()
	if err != nil {
		return err
	}
	p, err := newLocalEmulator(anyPort, demoSeed())
	if err != nil {
		return err
	}
	defer p.close()
	settings := p.settings("contoso", "fabrikam", "northwind")
	for name, value := range environ {
		if heededByDemo(name) {
			settings[name] = value
		}
	}
	for _, name := range []string{prefix + "LISTEN", prefix + "OPS_LISTEN"} {
		settings[name] = cmp.Or(settings[name], anyPort)
	}
	cfg, err := loadConfig(settings)
	if err != nil {
		return err
	}
	callers, err := listenOr(environ, prefix+"LISTEN", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	defer callers.Close()
	operators, err := listenOr(environ, prefix+"OPS_LISTEN", "127.0.0.1:8081")
	if err != nil {
		return err
	}
	defer operators.Close()
	cfg.Listen, cfg.OpsListen = callers.Addr().String(), operators.Addr().String()
	p.Entra().AddRedirectURI(demoClientID, cfg.redirectURI())
	ignoreBrokenPipes()
	lines := logqueue.New(w.stderr, logqueue.DefaultSize)
	defer lines.Close(lastLines)
	h, err := newServer(cfg, newLog(cfg, w.stderr, lines), lines)
	if err != nil {
		return err
	}
	defer h.close()
	fmt.Fprint(w.stdout, demoText("http://"+callers.Addr().String(), "http://"+operators.Addr().String(), runtime.GOOS == "windows"))
	return h.run(ctx, &entrances{callers, operators})
}

// heededByDemo reports whether the demo takes a setting from the outside. It
// brings its own tenants and registration.
func heededByDemo(name string) bool {
	for _, setting := range []string{"LISTEN", "OPS_LISTEN", "OPS_PASSWORD", "ALLOW_CIDRS", "ALLOW_ANONYMOUS", "ALLOWED_HOSTS", "PUBLIC_URL", "LOG_LEVEL", "LOG_FORMAT", "DRAIN_DELAY", "DRAIN_TIMEOUT", "UPSTREAM_TIMEOUT"} {
		if name == prefix+setting {
			return true
		}
	}
	return strings.HasPrefix(name, prefix+"TENANT_") || strings.HasPrefix(name, "OTEL_")
}

// anyPort is a free one on loopback.
const anyPort = "127.0.0.1:0"

// listenOr opens the listener that settings name. Where they name none, the
// usual one may be taken by another program, and then any free port will do.
func listenOr(settings map[string]string, name, usual string) (*daemon.Socket, error) {
	address := settings[name]
	if address == "" {
		if l, err := daemon.Listen(usual, false); err == nil {
			return l, nil
		}
		address = anyPort
	}
	l, err := daemon.Listen(address, false)
	if err != nil {
		return nil, fmt.Errorf("listen (%s): %w", name, err)
	}
	return l, nil
}
