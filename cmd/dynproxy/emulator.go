package main

import (
	"fmt"

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
			p, err := newLocalEmulator(listen, demoSeed())
			if err != nil {
				return err
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
