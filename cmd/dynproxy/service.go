package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/internal/service"
)

func (w *cli) service() *cobra.Command {
	c := &cobra.Command{Use: "service", Short: "Install, start and stop the proxy as a service of this system"}
	c.AddCommand(w.serviceInstall(), w.serviceStart(),
		&cobra.Command{
			Use: "uninstall", Short: "Stop and remove the service; its settings stay",
			RunE: func(c *cobra.Command, _ []string) error { return service.Uninstall(c.Context(), w.warn) },
		},
		&cobra.Command{
			Use: "stop", Short: "Stop the service, and wait until calls in flight have ended",
			RunE: func(c *cobra.Command, _ []string) error { return service.Stop(c.Context()) },
		},
		&cobra.Command{
			Use: "reload", Short: "Have the service read its settings again; its log and events say what came of it",
			RunE: func(c *cobra.Command, _ []string) error { return service.Reload(c.Context()) },
		},
		&cobra.Command{
			Use: "status", Short: "Say how the service is; exit 0 when it runs",
			RunE: func(c *cobra.Command, _ []string) error { return w.serviceStatus(c) },
		})
	return c
}

func (w *cli) serviceInstall() *cobra.Command {
	plan := service.Plan{}
	var firewall, delayed bool
	var listen string
	c := &cobra.Command{
		Use: "install", Short: "Install the service, or bring it up to date",
		Long: "Installs the proxy as a service that starts with the system, with an account of its own and folders that only it and\n" +
			"administrators can read. A service that is there is brought up to date; what it is given is kept. It is not started.\n" +
			"Without --env-file its settings are in " + service.DefaultEnvFile() + ".",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if plan.Program, err = os.Executable(); err != nil {
				return err
			}
			if plan.EnvFiles, err = w.absoluteEnvFiles(); err != nil {
				return err
			}
			if c.Flags().Changed("delayed") {
				plan.Delayed = &delayed
			}
			if c.Flags().Changed("listen") {
				plan.ListenOn = &listen
			}
			plan.Shut = c.Flags().Changed("firewall") && !firewall
			if firewall {
				plan.Listen = w.listenBy
			}
			return service.Install(c.Context(), plan, w.warn)
		},
	}
	c.Flags().StringVar(&listen, "listen", "", "where callers connect, whatever the settings' files say; \"\" goes by them again (Windows)")
	c.Flags().BoolVar(&delayed, "delayed", false, "start it some two minutes after the system's other services")
	c.Flags().BoolVar(&plan.Socket, "socket", false, "let systemd open the callers' port, which may be below 1024 and outlives the program (Linux)")
	c.Flags().BoolVar(&firewall, "firewall", false, "let callers through this machine's firewall, to the port of LISTEN; uninstall takes it back (Windows)")
	return c
}

// absoluteEnvFiles are the settings' files of a service, which has no folder
// from which a path could lead.
func (w *cli) absoluteEnvFiles() ([]string, error) {
	var all []string
	for _, path := range w.envFiles {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return all, nil
}

// listenBy is where callers connect by the settings in envFiles.
func (w *cli) listenBy(envFiles []string) (string, error) {
	environ, err := envfile.Environment(slices.Concat(w.environ, service.Environment()), envFiles)
	if err != nil {
		return "", err
	}
	if address := environ[prefix+"LISTEN"]; address != "" {
		return address, nil
	}
	return envfile.Defaults[settings]()["LISTEN"], nil
}

func (w *cli) serviceStart() *cobra.Command {
	var ifSetUp bool
	c := &cobra.Command{
		Use: "start", Short: "Start the service, and wait until it serves",
		RunE: func(c *cobra.Command, _ []string) error {
			if ifSetUp {
				if why := w.notSetUp(c.Context()); why != "" {
					_, err := fmt.Fprintln(w.stdout, why)
					return err
				}
			}
			err := service.Start(c.Context())
			if ifSetUp && errors.Is(err, service.ErrDisabled) {
				_, err = fmt.Fprintln(w.stdout, err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&ifSetUp, "if-set-up", false, "leave a service alone, without an error, that is disabled or whose settings name no app registration yet")
	return c
}

// notSetUp says what is left to do for a service that has been installed before
// its settings were written; "" where they only need to be right.
func (w *cli) notSetUp(ctx context.Context) string {
	files, err := service.EnvFiles(ctx)
	if err != nil {
		return ""
	}
	environ, err := envfile.Environment(slices.Concat(w.environ, service.Environment()), files)
	id := environ[prefix+"CLIENT_ID"]
	if err != nil || id != "" && !secret.Placeholder(id) {
		return ""
	}
	return fmt.Sprintf("%s names no app registration yet (%sCLIENT_ID), so the service is not started.\n"+
		"Fill it in, by hand or by dynproxy init --file \"%[1]s\" --replace, and then: dynproxy service start", files[len(files)-1], prefix)
}

func (w *cli) serviceStatus(c *cobra.Command) error {
	state, err := service.Status(c.Context())
	if err != nil {
		return err
	}
	fmt.Fprintln(w.stdout, state.Words)
	if !state.Running {
		return errNotWell
	}
	return nil
}

// apart are the commands that have nothing to do with a service that is
// installed, or are told which one they mean.
var apart = []string{"serve", "demo", "emulator", "init", "service", "version", "completion", "help"}

// lookAtInstalled lets a command that is told no settings at all go by those of
// the service on this machine.
func (w *cli) lookAtInstalled(c *cobra.Command) {
	for ; c.HasParent(); c = c.Parent() {
		if slices.Contains(apart, c.Name()) {
			return
		}
	}
	told := slices.ContainsFunc(w.environ, func(entry string) bool { return strings.HasPrefix(entry, prefix) })
	if _, err := os.Stat(service.DefaultEnvFile()); len(w.envFiles) > 0 || told || errors.Is(err, fs.ErrNotExist) {
		return
	}
	w.envFiles = []string{service.DefaultEnvFile()}
}

// firstSettings is the file that a first start writes: that of the service,
// where one is installed.
func firstSettings() string {
	file := service.DefaultEnvFile()
	if _, err := os.Stat(filepath.Dir(file)); err == nil {
		return file
	}
	return "dynproxy.env"
}

// keptBySystemd takes up where systemd wants a service's state, unless settings say otherwise.
func (w *cli) keptBySystemd() {
	for _, entry := range w.environ {
		if dirs, is := strings.CutPrefix(entry, "STATE_DIRECTORY="); is && w.defaults == nil {
			first, _, _ := strings.Cut(dirs, ":")
			w.defaults = map[string]string{prefix + "STATE_DIR": first}
		}
	}
}

func (w *cli) warn(words string) { fmt.Fprintf(w.stderr, "dynproxy: %s\n", inLine(words)) }
