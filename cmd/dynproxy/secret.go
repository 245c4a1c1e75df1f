package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/internal/textfile"
	"dynproxy/tenants"
)

func (w *cli) secret() *cobra.Command {
	c := &cobra.Command{Use: "secret", Short: "Keep secrets so that only this machine can read them (Windows)"}
	c.AddCommand(w.secretProtect())
	return c
}

func (w *cli) secretProtect() *cobra.Command {
	var in, out string
	var replace bool
	c := &cobra.Command{
		Use: "protect", Short: "Write a secret into a file that only this machine can read",
		Long: "Reads a secret from standard input, or a whole file such as a PFX with --in, and writes a file that only this machine\n" +
			"can read (Windows DPAPI). Every setting that ends in _FILE takes such a file. A copy of it on another machine, or in a\n" +
			"backup, is of no use; on this machine every process can read it that may open it, so let it lie in the secrets folder.",
		Example: "  dynproxy secret protect --out \"C:\\ProgramData\\dynproxy\\secrets\\client-secret\"",
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return &usageError{errors.New("--out is missing: the file that is to be written")}
			}
			if _, err := os.Lstat(out); !replace && !errors.Is(err, fs.ErrNotExist) {
				return &usageError{fmt.Errorf("%s exists and stays as it is; --replace replaces it", out)}
			}
			if _, err := textfile.Protect([]byte("x")); err != nil {
				return err // before anybody types a secret
			}
			content, err := w.unprotected(in)
			if err != nil {
				return err
			}
			return w.writeProtected(out, content)
		},
	}
	c.Flags().StringVar(&out, "out", "", "the `FILE` to write")
	c.Flags().StringVar(&in, "in", "", "take the content of `FILE`, which stays as it is, in place of standard input")
	c.Flags().BoolVar(&replace, "replace", false, "replace a file that is there")
	return c
}

// unprotected is what is to be protected: the file called in, or else standard
// input.
func (w *cli) unprotected(in string) (content []byte, err error) {
	switch {
	case in != "":
		content, err = textfile.ReadSecret(in)
	case term.IsTerminal(int(os.Stdin.Fd())):
		fmt.Fprint(w.stderr, "The secret (it is not shown): ")
		content, err = term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(w.stderr)
	default:
		content, err = io.ReadAll(io.LimitReader(os.Stdin, mostSecret+1))
	}
	switch {
	case err != nil:
		return nil, err
	case len(bytes.TrimSpace(content)) == 0:
		return nil, errors.New("there is nothing to protect: type the secret, or send it through standard input")
	case len(content) > mostSecret:
		return nil, errors.New("that is larger than a secret, a key or a PFX can be")
	}
	return content, nil
}

// mostSecret is the largest file that is protected, in bytes.
const mostSecret = 1 << 20

func (w *cli) writeProtected(out string, content []byte) error {
	file, err := textfile.Protect(content)
	if err != nil {
		return err
	}
	if err := textfile.Replace(out, file); err != nil {
		return err
	}
	if again, err := textfile.ReadSecret(out); err != nil || !bytes.Equal(again, content) {
		return errors.Join(fmt.Errorf("%s does not give back what was put into it", out), err)
	}
	fmt.Fprintf(w.stdout, "Written: %s\n", out)
	if value, err := secret.ReadFile(out); err == nil {
		if err := secret.CheckAppSecret(value); err != nil {
			w.warn(fmt.Sprintf("as the secret of an app registration this %v", err))
		}
	}
	if who := secret.Exposed(out); who != "" {
		w.warn(exposure{out, who}.String())
	}
	return nil
}

// exposure is a file with a secret that others can read.
type exposure struct{ path, who string }

func (e exposure) String() string {
	return fmt.Sprintf("%s holds a secret, and %s can read it: %s", e.path, e.who, secret.HowToHide)
}

// exposures are the files behind the settings that others can read and should not.
func (a *app) exposures() []exposure {
	cfg := a.config()
	files := append(secretFiles(cfg.registration), cfg.OpsPasswordFile, cfg.LinkKeyFile, cfg.TLSKeyFile, cfg.OpsTLSKeyFile, cfg.KeytabFile)
	for _, path := range cfg.envFiles {
		if holdsSecret(path) {
			files = append(files, path)
		}
	}
	if a.book != nil {
		for t := range a.book.All() {
			files = append(files, secretFiles(t.Registration)...)
		}
	}
	var all []exposure
	looked := map[string]bool{"": true}
	for _, path := range files {
		if looked[path] {
			continue
		}
		looked[path] = true
		if who := secret.Exposed(path); who != "" {
			all = append(all, exposure{path, who})
		}
	}
	return all
}

func secretFiles(r tenants.Registration) []string {
	return []string{r.SecretFile, r.SecretNextFile, r.CertificateFile, r.CertificatePasswordFile}
}

// holdsSecret reports whether a file of settings has a secret in itself.
func holdsSecret(path string) bool {
	values, err := envfile.Environment(nil, []string{path})
	if err != nil {
		return false
	}
	for name, value := range values {
		if value != "" && shown(name, value) == envfile.Hidden {
			return true
		}
	}
	return false
}
