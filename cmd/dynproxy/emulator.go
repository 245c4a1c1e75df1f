package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (w *cli) emulator() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use: "emulator", Short: "Run only the embedded Entra ID and Dataverse, for your own tests",
		Long: "Runs the embedded Entra ID and organizations on loopback, over TLS, and prints their addresses, the settings\n" +
			"with which a proxy uses them, and where the certificate of their authority lies. Under /_emulator/ on the login\n" +
			"host, faults can be switched on, consent given and application users made.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := judgeLoopback(listen); err != nil {
				return &usageError{fmt.Errorf("--listen %w", err)}
			}
			p, err := newLocalEmulator(listen, demoSeed())
			if err != nil {
				return fmt.Errorf("%w (--listen %s; with port 0 it takes free ones)", err, listen)
			}
			defer p.close()
			w.explainEmulator(p)
			<-c.Context().Done()
			return nil
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "the `ADDRESS` of Entra ID; with a port, the organizations take the ports after it")
	return c
}

// judgeLoopback returns why the emulator cannot listen on address.
func judgeLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	last := uint64(65535 - len(demoSeed().Organizations)) // they take the ports after it
	if n, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || n > last || !strings.EqualFold(host, "localhost") && !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("must be an address of this machine alone and a port up to %d, such as 127.0.0.1:8443 (0 for free ports)", last)
	}
	return nil
}

func (w *cli) explainEmulator(p *localEmulator) {
	fmt.Fprintf(w.stdout, "Entra ID      https://%s\n", p.LoginHost())
	names := []string{"contoso", "fabrikam", "northwind"}
	for _, name := range names {
		fmt.Fprintf(w.stdout, "%-12s  %s\n", name, p.OrgURL(name))
	}
	fmt.Fprintf(w.stdout, "CA            %s\n\nSettings for a proxy:\n\n", p.caFile())
	settings := p.settings(names...)
	for _, name := range []string{"CLIENT_ID", "CLIENT_SECRET", "TENANTS", "ALLOWED_ORG_HOSTS", "ALLOWED_LOGIN_HOSTS", "TRUSTED_CA_FILE"} {
		fmt.Fprintf(w.stdout, "%s=%s\n", prefix+name, settings[prefix+name])
	}
	fmt.Fprintf(w.stdout, "\nFaults, consent and application users: https://%s/_emulator/  Ctrl-C ends the emulator.\n", p.LoginHost())
}
