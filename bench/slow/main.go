// Command slow shows what a normal caller feels while slowhttptest holds
// hundreds of connections to the proxy: its p50 and p99 when all is quiet, and
// beside each mode of attack, in one run.
//
//	go -C bench run ./slow
//
// It needs slowhttptest on the PATH, and goes to loopback alone.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"dynproxy/bench/stand"
	"dynproxy/internal/emulator"
)

func main() {
	seconds := flag.Int("seconds", 15, "how long each mode lasts")
	flag.Parse()
	if err := show(os.Stdout, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "slow:", err)
		os.Exit(1)
	}
}

// modes are those of slowhttptest: heads, bodies and answers that crawl.
var modes = []struct {
	name string
	args []string
}{
	{"slow heads", []string{"-H", "-i", "5", "-x", "24"}},
	{"slow bodies", []string{"-B", "-i", "5", "-s", "8192", "-x", "10"}},
	{"slow reads", []string{"-X", "-w", "1", "-y", "8", "-n", "5", "-z", "32", "-k", "3"}},
}

const connections = 500

// target is a proxy before an emulated organization.
type target struct {
	*stand.Stand
	world *emulator.Emulator
	proxy stand.Proxy
}

func open() (*target, error) {
	const app = "7f0c2d9e-18a4-4d52-9b0e-2f6b8f9d3c11"
	s, err := stand.New()
	if err != nil {
		return nil, err
	}
	t := &target{Stand: s}
	t.world, err = emulator.New(emulator.Seed{
		Apps:          []emulator.App{{ClientID: app, Secrets: []string{"bench"}}},
		Organizations: []emulator.OrganizationSeed{{Name: "contoso", Consented: []string{app}, ApplicationUsers: []string{app}}},
	})
	if err == nil {
		err = t.world.Start("127.0.0.1:0")
	}
	ca := filepath.Join(s.Dir, "ca.pem")
	if err == nil {
		err = os.WriteFile(ca, t.world.CA(), 0o600)
	}
	if err == nil {
		org := t.world.OrgURL("contoso")
		t.proxy, err = s.Proxy("CLIENT_ID="+app, "CLIENT_SECRET=bench", "TENANTS=contoso="+org, "TRUSTED_CA_FILE="+ca,
			"ALLOWED_ORG_HOSTS="+strings.TrimPrefix(org, "https://"), "ALLOWED_LOGIN_HOSTS="+t.world.LoginHost(), "TENANT_LIMITS=off")
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return t, nil
}

func (t *target) close() {
	t.Close()
	t.world.Close()
}

func (t *target) url() string {
	return t.proxy.Calls + "/contoso/api/data/v9.2/accounts?$select=name&$top=50"
}

// call sends one call after the other until d has passed, and returns how long
// each took, sorted.
func (t *target) call(d time.Duration) ([]time.Duration, error) {
	var took []time.Duration
	for began := time.Now(); time.Since(began) < d; time.Sleep(5 * time.Millisecond) {
		one := time.Now()
		resp, err := http.Get(t.url())
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("a normal call got %s %v", resp.Status, err)
		}
		took = append(took, time.Since(one))
	}
	slices.Sort(took)
	return took, nil
}

// besides measures normal calls while slowhttptest runs in a mode.
func (t *target) besides(args []string, d time.Duration) ([]time.Duration, error) {
	attack := exec.Command("slowhttptest", append(args, "-c", fmt.Sprint(connections), "-r", "250",
		"-l", fmt.Sprint(int(d/time.Second)), "-p", "3", "-t", "GET", "-u", t.url())...)
	if err := attack.Start(); err != nil {
		return nil, err
	}
	defer attack.Wait()
	defer attack.Process.Signal(os.Interrupt)
	time.Sleep(2 * time.Second) // until its connections stand
	return t.call(d - 2*time.Second)
}

func show(w io.Writer, d time.Duration) error {
	t, err := open()
	if err != nil {
		return err
	}
	defer t.close()
	if _, err := t.call(time.Second); err != nil { // the first call mints
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "normal calls\tcalls\tp50 ms\tp99 ms\tbeside quiet p99\t")
	quiet, err := t.call(d)
	if err != nil {
		return err
	}
	line := func(name string, took []time.Duration) {
		p99 := at(took, 99)
		fmt.Fprintf(table, "%s\t%d\t%.2f\t%.2f\t%.2f\t\n", name, len(took), ms(at(took, 50)), ms(p99), ms(p99)/ms(at(quiet, 99)))
	}
	line("quiet", quiet)
	for _, mode := range modes {
		took, err := t.besides(mode.args, d)
		if err != nil {
			return fmt.Errorf("%s: %w", mode.name, err)
		}
		line(fmt.Sprintf("beside %d %s", connections, mode.name), took)
	}
	return table.Flush()
}

func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
