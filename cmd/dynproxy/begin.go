package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/changes"
	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/internal/service"
	"dynproxy/internal/textfile"
	"dynproxy/tenants"
)

// begin writes what was answered: all of it, or nothing.
func (w *cli) begin(ctx context.Context, p *prompt, s beginning) error {
	values := s.values()
	cfg, err := w.judged(values)
	if err != nil {
		return err
	}
	if _, err := cfg.rules.Read(s.tenant, map[string]string{"ORG_URL": s.orgURL}); err != nil {
		return err
	}
	if err := s.mayWrite(p); err != nil {
		return err
	}
	undo := &undoing{}
	defer undo.unlessDone()
	key, err := w.writeStart(undo, cfg, s, values)
	if err != nil {
		return err
	}
	undo.done = true
	w.recordStart(undo, s, values)
	fmt.Fprintf(w.stderr, "Written: %s\n", strings.Join(undo.written, ", "))
	if key != "" {
		fmt.Fprintf(w.stderr, "The key of %s, which is shown only now (send it as X-Api-Key, or as the password of HTTP Basic with that user name):\n", s.caller)
		if _, err := fmt.Fprintln(w.stdout, key); err != nil {
			return fmt.Errorf("the key of %[1]s could not be printed: %[2]w; 'dynproxy caller remove %[1]s' and 'dynproxy caller add %[1]s' make another", s.caller, err)
		}
	}
	if s.ofService() {
		fmt.Fprintf(w.stderr, "Next: %s\n", service.StartLine)
	} else {
		fmt.Fprintf(w.stderr, "Next: dynproxy serve --env-file %s\n", asWord(s.file))
	}
	if s.noCheck {
		return nil
	}
	later := *w
	later.stdout = w.stderr // the key alone goes where it can be kept
	later.envFiles = append(later.envFiles, s.file)
	err = later.runCheck(ctx, []string{s.tenant}, checkForm{})
	if errors.Is(err, errNotWell) {
		fmt.Fprintf(w.stderr, "What is missing is said above; dynproxy onboard %s %s --env-file %s goes the rest of the way.\n", s.tenant, s.orgURL, s.file)
	}
	return err
}

// values are the settings that are written.
func (s *beginning) values() map[string]string {
	v := map[string]string{
		"CLIENT_ID": s.clientID, "CLIENT_SECRET_FILE": s.beside("client-secret"),
		"TENANTS_DIR": s.beside("tenants"), "STATE_DIR": s.beside("state"), "LISTEN": s.listen,
	}
	if s.ofService() {
		v["STATE_DIR"] = service.StateDir()
	}
	if s.secretFile != "" {
		v["CLIENT_SECRET_FILE"] = s.beside(s.secretFile)
		if path, err := filepath.Abs(s.secretFile); err == nil {
			v["CLIENT_SECRET_FILE"] = path
		}
	}
	switch s.callers {
	case byAddresses:
		v["ALLOW_CIDRS"] = s.addresses
	case byKeys:
		v["CALLERS_DIR"] = s.beside("callers")
	}
	return v
}

// ofService reports whether the settings are those of this machine's service.
func (s *beginning) ofService() bool { return s.file == service.DefaultEnvFile() }

// exampleStill reports whether the file at path holds settings of which an
// example's are not yet replaced: those of a package that was just installed.
func exampleStill(path string) bool {
	values, err := envfile.Environment(nil, []string{path})
	return err == nil && secret.Placeholder(values[prefix+"CLIENT_ID"])
}

// judged reads the settings as serve will, beside those of the environment.
func (w *cli) judged(values map[string]string) (*config, error) {
	environ, err := w.environment()
	if err != nil {
		return nil, err
	}
	for name, value := range values {
		if other, set := environ[prefix+name]; set && other != value {
			return nil, &usageError{fmt.Errorf("%s%s is set in the environment, or in an --env-file, and would win over the file that is to be written; unset it first", prefix, name)}
		}
		environ[prefix+name] = value
	}
	return loadConfig(environ)
}

// mayWrite asks about files that exist.
func (s *beginning) mayWrite(p *prompt) error {
	paths := []string{s.file}
	if s.secretFile == "" {
		paths = append(paths, s.beside("client-secret"))
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); err != nil || s.replace || exampleStill(path) {
			continue
		}
		if !p.confirmed(path + " exists. Replace it?") {
			return &usageError{fmt.Errorf("%s exists and stays as it is; name another --file, or replace it by --replace", path)}
		}
	}
	return p.err()
}

// writeStart writes the files, the settings last: without them nothing else has
// an effect.
func (w *cli) writeStart(undo *undoing, cfg *config, s beginning, values map[string]string) (key string, err error) {
	for _, dir := range []string{values["TENANTS_DIR"], values["CALLERS_DIR"], filepath.Dir(values["CLIENT_SECRET_FILE"])} {
		if dir != "" {
			if err := undo.mkdir(dir); err != nil {
				return "", err
			}
		}
	}
	if s.secretFile == "" {
		if err := undo.write(values["CLIENT_SECRET_FILE"], guardedSecret(s.secret)); err != nil {
			return "", err
		}
	}
	editor := &changes.Editor{
		TenantsDir: values["TENANTS_DIR"], CallersDir: values["CALLERS_DIR"], Audit: &undo.changes,
		Rules:   func() *tenants.Rules { return cfg.rules },
		Listed:  func(string) bool { return false },
		Callers: func() (*callers.Book, error) { return callers.Open(values["CALLERS_DIR"]) },
	}
	undo.watch(filepath.Join(editor.TenantsDir, strings.ToLower(s.tenant)+".env"))
	if _, err := editor.Tenant(w.who(), s.tenant, tenants.Edit{Set: map[string]string{"ORG_URL": s.orgURL}, New: true, Replace: s.replace}); err != nil {
		return "", err
	}
	if s.callers == byKeys {
		undo.watch(filepath.Join(editor.CallersDir, strings.ToLower(s.caller)+".env"))
		done, err := editor.Caller(w.who(), s.caller, callers.Edit{New: true, Fresh: true})
		if err != nil {
			return "", err
		}
		key = done.Key
	}
	var text strings.Builder
	text.WriteString("# Written by dynproxy init. config.example.env explains every setting.\n")
	for _, name := range []string{"CLIENT_ID", "CLIENT_SECRET_FILE", "TENANTS_DIR", "CALLERS_DIR", "STATE_DIR", "LISTEN", "ALLOW_CIDRS"} {
		if value := values[name]; value != "" {
			fmt.Fprintf(&text, "%s%s=%s\n", prefix, name, value)
		}
	}
	return key, undo.write(s.file, string(textfile.Lines(text.String())))
}

// asWord is path as one word of a command line.
func asWord(path string) string {
	plain := strings.IndexFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(`/\:._-`, r)
	}) < 0
	switch {
	case plain:
		return path
	case runtime.GOOS == "windows":
		return `"` + path + `"`
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// recordStart puts what was written into the record of changes, now that none
// of it is taken back.
func (w *cli) recordStart(undo *undoing, s beginning, values map[string]string) {
	entries, _ := undo.changes.Recent(audit.MostEntries) // of memory, which can be read
	slices.Reverse(entries)
	written := make(map[string]string)
	for name, value := range values {
		written[prefix+name] = value // the secret is in a file of its own
	}
	who := w.who()
	e := audit.Entry{By: who.By, Via: who.Via, From: who.From, Kind: "settings", Name: s.file, Action: "added", After: written}
	if _, was := undo.former[s.file]; was {
		e.Action = "changed"
	}
	record := &audit.Log{Dir: values["STATE_DIR"]}
	if err := record.Record(append(entries, e)...); err != nil {
		fmt.Fprintf(w.stderr, "dynproxy: this could not be recorded in %s: %v\n", record.Dir, err)
	}
}

// guardedSecret is the text of a file that holds s: protected for this machine
// where the system can do that.
func guardedSecret(s secret.Text) string {
	text := s.Reveal() + "\n"
	if protected, err := textfile.Protect([]byte(text)); err == nil {
		return string(protected)
	}
	return text
}

// undoing takes back what was written, unless all of it was.
type undoing struct {
	done    bool
	changes audit.Log // of what was written
	written []string
	former  map[string][]byte // what stood in files that were there
	dirs    []string          // that were made
}

func (u *undoing) mkdir(dir string) error {
	for parent := dir; ; parent = filepath.Dir(parent) {
		if _, err := os.Stat(parent); err == nil || parent == filepath.Dir(parent) {
			break
		}
		u.dirs = append(u.dirs, parent)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the directory %s cannot be made: %w", dir, textfile.Reason(err))
	}
	return nil
}

// watch notes what a file is before somebody writes it.
func (u *undoing) watch(path string) {
	if u.former == nil {
		u.former = make(map[string][]byte)
	}
	if text, err := os.ReadFile(path); err == nil {
		u.former[path] = text
	}
	u.written = append(u.written, path)
}

func (u *undoing) write(path, text string) error {
	u.watch(path)
	return textfile.Replace(path, []byte(text))
}

func (u *undoing) unlessDone() {
	if u.done {
		return
	}
	for _, path := range u.written {
		if text, was := u.former[path]; was {
			textfile.Replace(path, text)
			continue
		}
		os.Remove(path)
	}
	for _, dir := range u.dirs { // the innermost first
		os.Remove(dir)
	}
}
