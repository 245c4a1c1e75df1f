package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/user"
	"strings"
	"time"

	"dynproxy/internal/secret"
	"dynproxy/internal/textfile"
)

// asker asks the proxy that runs with the same settings, at OPS_LISTEN and
// with OPS_PASSWORD.
type asker struct {
	base         string // http://host:port, without a trailing slash
	password     secret.Text
	passwordFile string // in place of password, unless ""
	client       *http.Client
}

// askWithin bounds a question whose answer is there at once.
const askWithin = 10 * time.Second

// asker reads of the settings only how the running proxy is reached: for a
// question nobody needs the rest.
func (w *cli) asker() (*asker, error) {
	environ, err := w.environment()
	if err != nil {
		return nil, err
	}
	address, err := opsAddress(environ[prefix+"OPS_LISTEN"])
	if err != nil {
		return nil, err
	}
	a := &asker{
		base: "http://" + address, client: &http.Client{Transport: &http.Transport{}},
		password: secret.New(environ[prefix+"OPS_PASSWORD"]), passwordFile: environ[prefix+"OPS_PASSWORD_FILE"],
	}
	if cert := environ[prefix+"OPS_TLS_CERT_FILE"]; cert != "" {
		a.base, a.client.Transport = "https://"+address, &http.Transport{TLSClientConfig: onlyCertificate(cert)}
	}
	return a, nil
}

// opsAddress is where this machine reaches a listener.
func opsAddress(listen string) (string, error) {
	if listen == "" {
		listen = "127.0.0.1:8081"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "" {
		return "", &usageError{fmt.Errorf("%sOPS_LISTEN must be host:port, such as 127.0.0.1:8081", prefix)}
	}
	switch ip, _ := netip.ParseAddr(host); {
	case host == "", ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// errNotRunning is the error of a question that nobody took.
var errNotRunning = errors.New("no proxy answers")

// isNotRunning reports whether err says that nobody took a question.
func isNotRunning(err error) bool { return errors.Is(err, errNotRunning) }

// ask sends a request to path, with body as JSON unless it is nil, and decodes
// the JSON of an answer of 2xx into answer. Any other answer is an error that
// says what to do; a *notFoundError where there is none at path.
func (a *asker) ask(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = strings.NewReader(string(b))
	}
	resp, err := a.open(ctx, method, path, text)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := a.judge(resp); err != nil {
		return err
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("what answers at %s is no proxy of this version: %s is not as it should be", a.base, path)
	}
	return nil
}

// open sends a request and returns its answer, whatever it is, to be closed.
func (a *asker) open(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if err := a.prove(r); err != nil {
		return nil, err
	}
	resp, err := a.client.Do(r)
	if err == nil {
		return resp, nil
	}
	return nil, a.unanswered(ctx, err)
}

// prove adds the operators' password, and as whom it is used, for the record.
func (a *asker) prove(r *http.Request) error {
	password := a.password
	if a.passwordFile != "" {
		var err error
		if password, err = secret.ReadFile(a.passwordFile); err != nil {
			return fmt.Errorf("%sOPS_PASSWORD_FILE: %w", prefix, err)
		}
	}
	if password.Empty() {
		return nil
	}
	name := "dynproxy"
	if person, err := user.Current(); err == nil {
		name = strings.ReplaceAll(person.Username, ":", " ")
	}
	r.SetBasicAuth(name, password.Reveal())
	return nil
}

// unanswered is the error of a question that err has ended.
func (a *asker) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if errors.Is(err, errOtherCertificate) {
		return fmt.Errorf("what answers at %s shows %w", a.base, errOtherCertificate)
	}
	return fmt.Errorf("%w at %s; is it running, and with the same OPS_LISTEN?", errNotRunning, a.base)
}

// notFoundError is the error for what the running proxy does not have.
type notFoundError struct {
	message string
}

func (e *notFoundError) Error() string { return e.message }

// judge makes an error of an answer that is none of 2xx.
func (a *asker) judge(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	said := problemIn(resp)
	switch {
	case resp.StatusCode == http.StatusUnauthorized && a.password.Empty() && a.passwordFile == "":
		return fmt.Errorf("the proxy at %s wants the operators' password: set %sOPS_PASSWORD or %sOPS_PASSWORD_FILE as it has them", a.base, prefix, prefix)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusTooManyRequests && said == "":
		return fmt.Errorf("the proxy at %s refuses the operators' password of these settings", a.base)
	case resp.StatusCode == http.StatusNotFound && said != "":
		return &notFoundError{said}
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return fmt.Errorf("the proxy at %s does not know %s: it is of an older version, or something else answers there", a.base, resp.Request.URL.Path)
	case said != "":
		return errors.New(said)
	}
	return fmt.Errorf("the proxy at %s answers %s", a.base, resp.Status)
}

// problemIn is the message in an error of the operators' API, "" if resp holds
// none.
func problemIn(resp *http.Response) string {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what is cut off is no JSON
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &said) != nil {
		return ""
	}
	return said.Error.Message
}

// errOtherCertificate is told of a server that is not the one of the settings.
var errOtherCertificate = errors.New("another certificate than that of the settings")

// onlyCertificate trusts the certificate in a file and no other, by whatever
// name: it is our own, and this machine's.
func onlyCertificate(path string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does more
		VerifyConnection: func(state tls.ConnectionState) error {
			own, err := textfile.ReadCertificates(path)
			if err != nil {
				return err
			}
			if !own[0].Equal(state.PeerCertificates[0]) {
				return errOtherCertificate
			}
			return nil
		},
	}
}

// printJSON prints value for people and programs.
func printJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}
