package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"dynproxy/internal/callers"
	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/internal/service"
	"dynproxy/tenants"
)

// The ways in which callers come in.
const (
	byLoopback  = "local"     // anybody on this machine
	byAddresses = "addresses" // whoever calls from these addresses
	byKeys      = "keys"      // whoever has a key
)

// beginning is what init asks for.
type beginning struct {
	file       string
	clientID   string
	secretFile string      // one that is there already; "" to have it written
	secret     secret.Text // to be written beside the settings
	tenant     string
	orgURL     string
	callers    string
	addresses  string
	caller     string
	listen     string

	replace, noCheck, secretFromStdin bool
}

func (w *cli) init() *cobra.Command {
	var s beginning
	c := &cobra.Command{
		Use: "init", Short: "A guided start: writes the settings, the secret's file, the first tenant and caller",
		Long: "Asks for the app registration, the first tenant and how callers come in, and then writes the settings file, a file for\n" +
			"the secret (readable by its owner alone), the tenant's file and, with keys, the first caller, whose key it prints once.\n" +
			"Each question has a flag, so that it runs without a terminal too. Nothing is written before the last answer is there;\n" +
			"files that exist are replaced only with --replace or when that is confirmed. It ends with check.\n" +
			"Settings that it writes: CLIENT_ID, CLIENT_SECRET_FILE, TENANTS_DIR, STATE_DIR, LISTEN, ALLOW_CIDRS, CALLERS_DIR.",
		Example: "  dynproxy init\n" +
			"  dynproxy init --client-id 6f1a4c3e-... --client-secret-file /run/secrets/app --tenant contoso --org-url https://contoso.crm.dynamics.com --callers keys --caller webform",
		RunE: func(c *cobra.Command, _ []string) error {
			if s.file == "" {
				s.file = firstSettings()
			}
			return w.runInit(c.Context(), s)
		},
	}
	f := c.Flags()
	f.StringVar(&s.file, "file", "", "the settings `FILE` to write; other files go beside it (default: that of the service, where one is installed, or dynproxy.env)")
	f.StringVar(&s.clientID, "client-id", "", "the application (client) id of the app registration")
	f.StringVar(&s.secretFile, "client-secret-file", "", "a `FILE` that holds its secret already")
	f.BoolVar(&s.secretFromStdin, "client-secret-stdin", false, "read its secret from standard input")
	f.StringVar(&s.tenant, "tenant", "", "the `NAME` of the first tenant, which callers use in the path")
	f.StringVar(&s.orgURL, "org-url", "", "the address of its organization")
	f.StringVar(&s.callers, "callers", "", "how callers come in: local (anybody on this machine), addresses or keys")
	f.StringVar(&s.addresses, "allow-cidrs", "", "with addresses: the addresses and networks from which callers may come")
	f.StringVar(&s.caller, "caller", "", "with keys: the `NAME` of the first caller")
	f.StringVar(&s.listen, "listen", "", "where callers connect (default 127.0.0.1:8080, or 0.0.0.0:8080 for others than local)")
	f.BoolVar(&s.replace, "replace", false, "replace files that exist")
	f.BoolVar(&s.noCheck, "no-check", false, "do not check the tenant at the end")
	c.MarkFlagsMutuallyExclusive("client-secret-file", "client-secret-stdin")
	return c
}

// settingsFile is where the settings go unless somebody says otherwise: to the
// place of the service, or where whoever may not install one stands.
func settingsFile(mayInstall bool) string {
	if mayInstall {
		return service.DefaultEnvFile()
	}
	return "dynproxy.env"
}

func (w *cli) runInit(ctx context.Context, s beginning) error {
	if s.file == "" {
		s.file = settingsFile(service.MayInstall())
	}
	p := &prompt{ctx: ctx, out: w.stderr, in: os.Stdin, people: isatty.IsTerminal(os.Stdin.Fd()) && !s.secretFromStdin}
	if s.secretFromStdin {
		if err := s.readSecret(os.Stdin); err != nil {
			return err
		}
	}
	if err := s.ask(p); err != nil {
		return err
	}
	if len(p.missing) > 0 {
		return &usageError{fmt.Errorf("without a terminal to ask on, these are needed too: %s", strings.Join(p.missing, ", "))}
	}
	return w.begin(ctx, p, s)
}

// readSecret reads the secret from in.
func (s *beginning) readSecret(in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return err
	}
	s.secret = secret.New(strings.TrimSpace(string(text)))
	if s.secret.Empty() {
		return &usageError{errors.New("standard input holds no secret")}
	}
	return nil
}

// ask asks for all that the flags have not said. What they said is judged in
// the same way.
func (s *beginning) ask(p *prompt) error {
	p.say("A guided start. Nothing is written before the last answer; Ctrl-C leaves everything as it is.\nThe settings go to " + s.file + ".\n")
	p.text("client-id", "Application (client) id of the app registration", &s.clientID, judgeClientID)
	if s.secretFile == "" && s.secret.Empty() {
		p.hidden("client-secret-file (or --client-secret-stdin)", "Its secret (it is not shown)", &s.secret, secret.CheckAppSecret)
	} else if err := s.judgeSecret(); err != nil {
		flag := "client-secret-file"
		if s.secretFromStdin {
			flag = "client-secret-stdin"
		}
		p.wrong(flag, err)
	}
	p.text("tenant", "Name of the first tenant, as callers will write it in the path (such as contoso)", &s.tenant, func(name string) error {
		if secret.Placeholder(name) {
			return errors.New("is an example's")
		}
		_, err := tenants.ValidName(name)
		return err
	})
	p.text("org-url", "Address of its organization (such as https://contoso.crm.dynamics.com)", &s.orgURL, judgeURL)
	p.text("callers", "How do callers come in? local (anybody on this machine), addresses, or keys", &s.callers, func(way string) error {
		if way != byLoopback && way != byAddresses && way != byKeys {
			return errors.New("must be local, addresses or keys")
		}
		return nil
	})
	switch s.callers {
	case byAddresses:
		p.text("allow-cidrs", "From which addresses or networks (such as 10.1.0.0/16,192.168.1.7)", &s.addresses, judgeNetworks)
	case byKeys:
		p.text("caller", "Name of the first caller (such as webform)", &s.caller, func(name string) error {
			_, err := callers.ValidName(name)
			return err
		})
	}
	if s.listen == "" {
		s.listen = "127.0.0.1:8080"
		if s.callers != byLoopback {
			s.listen = "0.0.0.0:8080"
		}
	}
	return p.err()
}

func (s *beginning) judgeSecret() error {
	given := s.secret
	if s.secretFile != "" {
		var err error
		if given, err = secret.ReadFile(s.secretFile); err != nil {
			return err
		}
	}
	return secret.CheckAppSecret(given)
}

var guid = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func judgeClientID(id string) error {
	switch {
	case secret.Placeholder(id):
		return errors.New("is an example's; the app registration's Overview shows the right one")
	case !guid.MatchString(id):
		return errors.New("must be a GUID: the application (client) id of the app registration's Overview")
	}
	return nil
}

func judgeURL(address string) error {
	if secret.Placeholder(address) || strings.ContainsAny(address, "<>{}") {
		return errors.New("is an example's; the Power Platform admin center shows the right one as Environment URL")
	}
	return nil // the rest is judged with the settings that say which hosts may be named
}

func judgeNetworks(list string) error {
	_, err := loadConfig(map[string]string{prefix + "ALLOW_CIDRS": list})
	faults, _ := errors.AsType[envfile.Faults](err)
	for _, f := range faults {
		if f.Variable == prefix+"ALLOW_CIDRS" {
			return errors.New(f.Cure)
		}
	}
	return nil
}

// beside is the path of a file next to the settings. Paths are written whole:
// a service starts somewhere else.
func (s *beginning) beside(name string) string {
	path, err := filepath.Abs(filepath.Join(filepath.Dir(s.file), name))
	if err != nil {
		return name
	}
	return path
}
