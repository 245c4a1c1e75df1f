package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"dynproxy/internal/check"
	"dynproxy/internal/emulator"
	"dynproxy/internal/status"
)

// fault is one way in which a call fails, and what everybody says of it: the
// answer to the caller, the line in the log, check and the portal.
type fault struct {
	name  string
	entra *emulator.Fault // of Entra ID
	org   *emulator.Fault // of the organization
	apply func(t *testing.T, p *localEmulator, settings map[string]string)
	ask   func(t *testing.T, r *running) (*http.Response, string) // nil: a simple read
	alone bool                                                    // it changes what all tests of the process share

	// What the caller gets, message and Dynproxy-Next being its words.
	status int
	error  string   // Dynproxy-Error, and the log's; "" where the answer is the organization's own
	code   string   // error.code where that is another, "status 503" without one
	says   []string // in its words

	reason string // in the log's

	// What check and portal say. Without a check, that all is well.
	check   string
	next    string // in the next step
	warning bool   // calls go through

	// What caller, log, check and portal all say, of a failure on the network.
	cause string
}

// answer is what the caller gets.
type answer struct {
	status             int
	error, code, words string
	id                 string // in the log
}

// For each fault the caller, the log, check and the portal say the same: one
// code, one cause, and what to do.
func TestGoldenTable(t *testing.T) {
	t.Parallel()
	testFaults(t, func(f fault) bool { return !f.alone })
}

func TestGoldenTableOfWhatTheProcessShares(t *testing.T) {
	testFaults(t, func(f fault) bool { return f.alone })
}

func testFaults(t *testing.T, which func(fault) bool) {
	p := startEmulator(t, demoSeed())
	list := faults()
	if len(list) < 45 {
		t.Fatalf("only %d", len(list))
	}
	manual := manual(t)
	defer told.write(t)
	for _, f := range list {
		if !which(f) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			settings := p.settings("contoso")
			if f.apply != nil {
				f.apply(t, p, settings)
			}
			f.inject(t, p)
			defer func() {
				p.Entra().Heal()
				p.Organization("contoso").Heal()
				p.Organization("contoso").AddApplicationUser(demoClientID)
			}()
			r := start(t, settings)
			got := f.call(t, r)
			f.judgeAnswer(t, got)
			f.judgeLog(t, r, got)
			printed, shown := checked(t, settings), r.seen(t, "contoso")
			f.judgeReport(t, "check", printed, got)
			f.judgeReport(t, "the portal", shown, got)
			if a, b := printed.FirstProblem(), shown.FirstProblem(); a.Name != b.Name || link.ReplaceAllString(a.Next, "") != link.ReplaceAllString(b.Next, "") {
				t.Errorf("check says %q, %q, the portal %q, %q", a.Name, a.Next, b.Name, b.Next)
			}
			if _, page := fetch(t, r.ops+"/tenants/contoso"); f.check != "" && !strings.Contains(page, ">"+f.check+"<") {
				t.Error("the portal's page does not name the check")
			}
			told.keep(t, f, got, manual)
			for _, word := range []string{got.error, strings.TrimPrefix(got.code, "status "), f.check} {
				if got.status != 200 && word != "" && !strings.Contains(manual, "`"+word+"`") {
					t.Errorf("docs/troubleshooting.md does not tell of %s", word)
				}
			}
		})
	}
}

func manual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f fault) inject(t *testing.T, p *localEmulator) {
	t.Helper()
	for what, inject := range map[*emulator.Fault]func(emulator.Fault) error{f.entra: p.Entra().Inject, f.org: p.Organization("contoso").Inject} {
		if what == nil {
			continue
		}
		if err := inject(*what); err != nil {
			t.Fatal(err)
		}
	}
}

func (f fault) call(t *testing.T, r *running) answer {
	t.Helper()
	ask := f.ask
	if ask == nil {
		ask = request("GET", accountsPath, "", nil)
	}
	resp, body := ask(t, r)
	var said struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal([]byte(body), &said) // what is no JSON has no code
	got := answer{
		status: resp.StatusCode, error: resp.Header.Get("Dynproxy-Error"), code: said.Error.Code,
		words: said.Error.Message + " " + resp.Header.Get("Dynproxy-Next"), id: resp.Header.Get("Dynproxy-Request-Id"),
	}
	if got.code == "" {
		got.code = fmt.Sprintf("status %d", resp.StatusCode)
	}
	return got
}

// link is one for consent, of which no two are alike.
var link = regexp.MustCompile(`https://\S+`)

// gibberish is what no message may hold.
var gibberish = regexp.MustCompile(`\*[a-z]+\.[A-Za-z]|%!|<nil>|goroutine|errorString|EOF|\bi/o\b|syscall|dial tcp|\.\.(?:[^.]|$)|  `)

func (f fault) judgeAnswer(t *testing.T, got answer) {
	t.Helper()
	code := f.code
	if code == "" {
		code = f.error
	}
	if got.status != f.status || got.error != f.error || code != "" && got.code != code {
		t.Errorf("callers get %d %q %q, want %d %q %q: %s", got.status, got.error, got.code, f.status, f.error, code, got.words)
	}
	for _, words := range append(f.says, f.cause) {
		if !strings.Contains(got.words, words) {
			t.Errorf("callers read %q, want %q in it", got.words, words)
		}
	}
	if wrong := gibberish.FindString(strings.ReplaceAll(got.words, "...", "")); f.error != "" && wrong != "" {
		t.Errorf("callers read %q in %q", wrong, got.words)
	}
}

func (f fault) judgeLog(t *testing.T, r *running, got answer) {
	t.Helper()
	var line struct {
		Message, ID, Level, Error, Reason string
		Status                            int
	}
	r.await("the line of the call", func(text string) bool {
		line.Error, line.Reason = "", ""
		return json.Unmarshal([]byte(text), &line) == nil && line.Message == "call" && (got.id == "" || line.ID == got.id)
	})
	if line.Error != got.error || line.Status != got.status || !strings.Contains(line.Reason, f.reason) || !strings.Contains(line.Reason, f.cause) {
		t.Errorf("the log has %d %q %q, want %d %q, %q and %q", line.Status, line.Error, line.Reason, got.status, got.error, f.reason, f.cause)
	}
	if warned := line.Level == "warn"; warned != (got.status >= 500) {
		t.Errorf("the line of status %d is of level %s", got.status, line.Level)
	}
	if wrong := gibberish.FindString(line.Reason); wrong != "" {
		t.Errorf("the log has %q in %q", wrong, line.Reason)
	}
}

func (f fault) judgeReport(t *testing.T, who string, report check.Report, got answer) {
	t.Helper()
	first := report.FirstProblem()
	if f.check == "" {
		if !report.OK || first.Name != "" {
			t.Errorf("%s finds %q: %s", who, first.Name, first.Finding)
		}
		return
	}
	code := got.code
	if f.warning {
		code = ""
	}
	if first.Name != f.check || report.OK != f.warning || report.Error != code {
		t.Errorf("%s says %q (%s), ok %v, callers get %q; want %q, %q", who, first.Name, first.Finding, report.OK, report.Error, f.check, code)
	}
	if !strings.Contains(first.Next, f.next) || first.Next == "" || first.Finding == "" || !strings.Contains(first.Finding, f.cause) {
		t.Errorf("%s says: %s. Next: %s (want %q, %q)", who, first.Finding, first.Next, f.cause, f.next)
	}
	if words := first.Finding + " " + first.Next; gibberish.MatchString(words) || strings.Contains(words, "dynproxy check") {
		t.Errorf("%s says: %s", who, words)
	}
	cured := f.warning || strings.Contains(got.words, first.Next) || strings.Contains(got.words, "dynproxy check contoso") ||
		strings.Contains(strings.ToLower(got.words), "try again")
	if f.error != "" && !cured {
		t.Errorf("callers do not read what to do: %q; %s says %q", got.words, who, first.Next)
	}
}

// request sends one request, with header lines as "Name: value".
func request(method, path, body string, header []string) func(*testing.T, *running) (*http.Response, string) {
	return func(t *testing.T, r *running) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, r.calls+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Set(name, value)
		}
		return send(t, req)
	}
}

// rawRequest sends what no client would.
func rawRequest(text string) func(*testing.T, *running) (*http.Response, string) {
	return func(t *testing.T, r *running) (*http.Response, string) {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(r.raw(text))), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
}

// checked is what "dynproxy check --json contoso" prints.
func checked(t *testing.T, settings map[string]string) check.Report {
	t.Helper()
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var out, errs bytes.Buffer
	run(t.Context(), []string{"check", "--json", "contoso"}, environ, &out, &errs)
	var reports []check.Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 1 {
		t.Fatalf("%v: %s%s", err, out.Bytes(), errs.Bytes())
	}
	return reports[0]
}

// seen is what the portal has of a tenant after "check now".
func (r *running) seen(t *testing.T, name string) check.Report {
	t.Helper()
	resp, err := http.Post(r.ops+"/tenants/"+name+"/check", "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	var facts status.Tenant
	_, text := fetch(t, r.ops+"/api/tenants/"+name)
	if err := json.Unmarshal([]byte(text), &facts); err != nil || facts.Report == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return *facts.Report
}
