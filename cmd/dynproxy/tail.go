package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/calls"
	"dynproxy/internal/opsclient"
)

// tailer prints the calls of a running proxy as they happen.
type tailer struct {
	*opsclient.Client
	path   string
	asJSON bool
	out    io.Writer
	errs   io.Writer
}

const (
	// silence is after how long without a word a stream counts as broken: the
	// proxy says several times in it that it is alive.
	silence = time.Minute

	firstAgain = 500 * time.Millisecond // before a stream that ended is asked for again; doubled each time
	lastAgain  = 10 * time.Second
)

func (w *cli) tail() *cobra.Command {
	var tenant, caller string
	var failed, asJSON bool
	c := &cobra.Command{
		Use: "tail", Short: "Print the calls of the running proxy as they happen",
		Long: "Prints a line for each call of the proxy that runs with the same settings: when it ended, status,\n" +
			"milliseconds, tenant, caller, request, what went wrong, and the id for 'dynproxy trace'.\n" +
			"When the proxy ends it waits for its return. Ends with Ctrl-C.",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := w.asker()
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"tenant": tenant, "caller": caller} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if failed {
				q.Set("failed", "1")
			}
			t := &tailer{Client: a, path: "/api/calls/stream?" + q.Encode(), asJSON: asJSON, out: w.stdout, errs: w.stderr}
			if tenant != "" {
				t.tellIfUnknown(c.Context(), strings.TrimSpace(tenant))
			}
			return t.run(c.Context())
		},
	}
	c.Flags().StringVar(&tenant, "tenant", "", "only calls to this `TENANT`")
	c.Flags().StringVar(&caller, "caller", "", "only calls of this `CALLER`: its name, or its address where it has none")
	c.Flags().BoolVar(&failed, "failed", false, "only calls that failed")
	c.Flags().BoolVar(&asJSON, "json", false, "print each call as its access line")
	return c
}

// tellIfUnknown says that a tenant is not there, whose calls would be waited for
// in vain; it may come.
func (t *tailer) tellIfUnknown(ctx context.Context, tenant string) {
	resp, err := t.Open(ctx, http.MethodGet, "/api/tenants/"+url.PathEscape(tenant), nil)
	if err != nil {
		return // run says why
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		fmt.Fprintf(t.errs, "there is no tenant %s ('dynproxy check' names them); its calls are shown once there is one\n", tenant)
	}
}

// run follows the stream, and asks for it again when it ends, until ctx does.
// A proxy that does not answer at first is an error.
func (t *tailer) run(ctx context.Context) error {
	pause := firstAgain
	for first := true; ; first = false {
		began, err := t.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case first && !began, err != nil && !errors.Is(err, opsclient.ErrNotRunning):
			return err
		case began:
			pause = firstAgain
			fmt.Fprintln(t.errs, "the proxy has ended the stream; waiting for it to come back, calls meanwhile are not shown")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastAgain)
	}
}

// follow prints what one stream brings. It reports whether there was one.
func (t *tailer) follow(ctx context.Context) (began bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	resp, err := t.Open(ctx, http.MethodGet, t.path, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if err := t.Judge(resp); err != nil {
		return false, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return false, t.Stranger(t.path)
	}
	event := ""
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		alive.Reset(silence)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			if err := t.print(event, value); err != nil {
				return true, err
			}
		}
	}
	return true, nil // however it ended
}

func (t *tailer) print(event, data string) error {
	switch event {
	case "lost":
		var said struct{ Lost int }
		json.Unmarshal([]byte(data), &said) // what cannot be read is no number
		fmt.Fprintf(t.errs, "%d calls are not shown: they came faster than they were read\n", said.Lost)
	case "call":
		if t.asJSON {
			_, err := fmt.Fprintln(t.out, data)
			return err
		}
		var c calls.Call
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return t.Stranger(t.path)
		}
		_, err := fmt.Fprintln(t.out, callLine(&c))
		return err
	}
	return nil
}

// callLine is a call in one line for people.
func callLine(c *calls.Call) string {
	line := fmt.Sprintf("%s %3d %7.0f ms  %s  %s  %s %s", c.Time.Local().Format("15:04:05.000"), c.Status,
		float64(c.Total)/float64(time.Millisecond), orDash(c.Tenant), c.Caller, c.Method, c.Path)
	for _, word := range []string{c.Error, c.Hint, c.OrgCode} {
		if word != "" {
			line += "  " + word
		}
	}
	if c.CutOff {
		line += "  cut off"
	}
	if c.Attempts > 1 {
		line += fmt.Sprintf("  %d attempts", c.Attempts)
	}
	return line + "  " + c.ID
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
