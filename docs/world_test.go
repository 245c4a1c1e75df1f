package docs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is a reader's machine: a shell in an empty folder, with an emulator in
// the place of Microsoft. What documents write (organizations of contoso, the
// usual ports, the usual folders) stands there for what is really used.
type world struct {
	t     *testing.T
	dir   string
	there *strings.Replacer // from what is written to what is here, but for the proxy's addresses
	back  []string
	calls string // host:port of the proxy that runs, "" for none
	ops   string
	shut  func()

	in     io.WriteCloser
	out    *bufio.Reader
	blocks int
}

var demoNames = []string{"contoso.crm.dynamics.com", "fabrikam.crm4.dynamics.com", "northwind.crm.dynamics.com"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), shut: func() {}}
	settings := w.emulate()
	for _, folder := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(w.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pairs := []string{"/etc/dynproxy", w.dir + "/etc/dynproxy", "/var/lib/dynproxy", w.dir + "/var/lib/dynproxy"}
	for i, one := range strings.Split(settings["DYNPROXY_TENANTS"], ",") {
		_, address, _ := strings.Cut(one, "=https://")
		pairs = append(pairs, demoNames[i], address)
		w.back = append(w.back, address, demoNames[i])
	}
	pairs = append(pairs, "login.microsoftonline.com", settings["DYNPROXY_ALLOWED_LOGIN_HOSTS"])
	w.there = strings.NewReplacer(pairs...)
	w.back = append(w.back, w.dir+"/etc/dynproxy", "/etc/dynproxy", w.dir+"/var/lib/dynproxy", "/var/lib/dynproxy", w.dir+"/home", "/home/you",
		settings["DYNPROXY_ALLOWED_LOGIN_HOSTS"], "login.microsoftonline.com")
	w.open(settings)
	t.Cleanup(func() { w.shut() }) // while the shell is there
	return w
}

// emulate starts an emulator and returns the settings for it.
func (w *world) emulate() map[string]string {
	w.t.Helper()
	c := exec.Command(filepath.Join(bin(w.t), "dynproxy"), "emulator")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { interrupt(c) })
	settings := make(map[string]string)
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "Faults"); {
		if name, value, is := strings.Cut(lines.Text(), "="); is {
			settings[name] = value
		}
	}
	if len(settings) < 6 {
		w.t.Fatalf("the emulator says only %v", settings)
	}
	return settings
}

func interrupt(c *exec.Cmd) {
	c.Process.Signal(os.Interrupt)
	c.Wait()
}

// environ is what a reader's shell has; of the settings only those that make
// the emulator pass for Microsoft.
func (w *world) environ(settings map[string]string) []string {
	of := func(name string) string { return name + "=" + settings[name] }
	return []string{
		"PATH=" + bin(w.t) + string(filepath.ListSeparator) + filepath.Join(w.dir, "bin") + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"HOME=" + filepath.Join(w.dir, "home"), "TMPDIR=" + filepath.Join(w.dir, "tmp"), "LC_ALL=C.UTF-8", "NO_PROXY=*", "no_proxy=*",
		"CLASSPATH=" + os.Getenv("CLASSPATH"), "PYTHONDONTWRITEBYTECODE=1", "PERL_LWP_ENV_PROXY=",
		"CURL_CA_BUNDLE=" + settings["DYNPROXY_TRUSTED_CA_FILE"], "SECRET=" + settings["DYNPROXY_CLIENT_SECRET"],
		of("DYNPROXY_ALLOWED_ORG_HOSTS"), of("DYNPROXY_ALLOWED_LOGIN_HOSTS"), of("DYNPROXY_TRUSTED_CA_FILE"),
	}
}

// open opens the shell.
func (w *world) open(settings map[string]string) {
	w.t.Helper()
	c := exec.Command("bash", "--norc", "--noprofile")
	c.Dir, c.Env = filepath.Join(w.dir, "home"), w.environ(settings)
	in, err := c.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.in, w.out = in, bufio.NewReader(out)
	w.t.Cleanup(func() { in.Close(); c.Wait() })
	// Root's rights are not needed here, and a failure inside a block is one.
	fmt.Fprintln(in, `sudo() { "$@"; }; emulator() { curl -sf --cacert "$DYNPROXY_TRUSTED_CA_FILE" -X "$1" "https://${DYNPROXY_ALLOWED_LOGIN_HOSTS}/_emulator/$2" -d "$3"; }; set -o pipefail; trap 'FAILED="${FAILED:-} $?"' ERR`)
}

// here is a text as documents have it with what is really here.
func (w *world) here(text string) string {
	text = w.there.Replace(text)
	if w.calls == "" {
		return text
	}
	for _, name := range []string{"127.0.0.1", "localhost", "proxy"} {
		text = strings.ReplaceAll(text, name+":8080", w.calls)
		text = strings.ReplaceAll(text, name+":8081", w.ops)
	}
	return text
}

// asWritten is a text from here as documents would have it.
func (w *world) asWritten(text string) string {
	pairs := w.back
	if w.calls != "" {
		pairs = append([]string{w.calls, "127.0.0.1:8080", w.ops, "127.0.0.1:8081"}, pairs...)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

var serves = regexp.MustCompile(`(?m)^(?:sudo +)?dynproxy +(serve|demo)\b.*\n\z`)

// shell carries out lines as somebody types them. A block that ends with a
// command that serves leaves it running, in the place of one before.
func (w *world) shell(b block) (string, error) {
	w.blocks++
	path := filepath.Join(w.dir, "tmp", fmt.Sprintf("block%d.sh", w.blocks))
	text := w.here(b.text)
	if serves.MatchString(b.text) {
		w.shut()
		return w.serve(path, text)
	}
	said, want := path+".out", "0"
	for _, word := range b.words {
		if status, is := strings.CutPrefix(word, "exit="); is {
			want = status
		}
		if answers, is := strings.CutPrefix(word, "answers="); is { // on a terminal of its own
			typed := strings.ReplaceAll(w.here(answers), ",", `" "`)
			text = fmt.Sprintf("printf '%%s\\n' \"%s\" | script -qec '%s' /dev/null\n", typed, strings.TrimSpace(text))
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	fmt.Fprintf(w.in, "FAILED=; . %s >%s 2>&1 </dev/null; echo \"done $? $FAILED\"\n", path, said)
	line, err := w.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the shell has ended: %w", err)
	}
	printed, _ := os.ReadFile(said)
	words := strings.Fields(line)
	if words[1] != want || want == "0" && len(words) > 2 {
		err = fmt.Errorf("it ended with status %s (%s), want %s", words[1], words[2:], want)
	}
	return string(printed), err
}

var served = regexp.MustCompile(`"listen":"([^"]+)","ops_listen":"([^"]+)".*"serving"`)

// serve leaves a proxy running, at ports of its own.
func (w *world) serve(path, text string) (string, error) {
	text = strings.TrimSpace(text)
	at := strings.LastIndexByte(text, '\n') + 1
	lines := text[:at] + "DYNPROXY_LISTEN=127.0.0.1:0 DYNPROXY_OPS_LISTEN=127.0.0.1:0 " + strings.TrimPrefix(text[at:], "sudo ") + " &\n"
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		return "", err
	}
	said := path + ".out"
	fmt.Fprintf(w.in, ". %s >%s 2>&1 </dev/null; echo $!\n", path, said)
	line, err := w.out.ReadString('\n')
	id, wrong := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || wrong != nil {
		return "", errors.Join(err, wrong)
	}
	w.shut = func() {
		w.shut = func() {}
		fmt.Fprintf(w.in, "kill -INT %d; wait %d; echo ended\n", id, id)
		if _, err := w.out.ReadString('\n'); err != nil {
			w.t.Errorf("the proxy may still run, as %d: %v", id, err)
		}
	}
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		printed, _ := os.ReadFile(said)
		if m := served.FindSubmatch(printed); m != nil {
			w.calls, w.ops = string(m[1]), string(m[2])
			fmt.Fprintf(w.in, "export DYNPROXY_OPS_LISTEN=%s\n", w.ops)
			return string(printed), nil
		}
	}
	printed, _ := os.ReadFile(said)
	return string(printed), errors.New("it does not serve")
}
