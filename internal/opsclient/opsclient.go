// Package opsclient asks the proxy that runs on this machine what it tells
// operators.
package opsclient

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

// Settings say how a running proxy is reached; nobody needs the rest of its
// settings for a question.
type Settings struct {
	Listen       string // OPS_LISTEN
	CertFile     string // OPS_TLS_CERT_FILE; "" for plain HTTP
	Password     secret.Text
	PasswordFile string // in place of Password, unless ""
}

// Client asks the proxy that runs with the same settings.
type Client struct {
	settings Settings
	base     string // http://host:port, without a trailing slash
	client   *http.Client
}

const (
	askWithin     = 10 * time.Second // bounds a question whose answer is there at once
	readyWithin   = 5 * time.Second
	longestAnswer = 64 << 20
)

// New returns a client. Its error is one of OPS_LISTEN.
func New(s Settings) (*Client, error) {
	address, err := Address(s.Listen)
	if err != nil {
		return nil, err
	}
	way := &http.Transport{ResponseHeaderTimeout: askWithin, TLSHandshakeTimeout: askWithin}
	c := &Client{settings: s, base: "http://" + address, client: &http.Client{Transport: way}}
	if s.CertFile != "" {
		c.base, way.TLSClientConfig = "https://"+address, OnlyCertificate(s.CertFile)
	}
	return c, nil
}

// Address is where this machine reaches a listener.
func Address(listen string) (string, error) {
	if listen == "" {
		listen = "127.0.0.1:8081"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "" {
		return "", errors.New("DYNPROXY_OPS_LISTEN must be host:port, such as 127.0.0.1:8081")
	}
	switch ip, _ := netip.ParseAddr(host); {
	case host == "", ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// ErrNotRunning is the error of a question that nobody took.
var ErrNotRunning = errors.New("no proxy answers")

// QuestionError is of a question that is wrong itself, and says what is.
type QuestionError struct{ error }

// Ask sends a request to path, with body as JSON unless it is nil, and decodes
// the JSON of an answer of 2xx into answer. Any other answer is an error that
// says what to do.
func (c *Client) Ask(ctx context.Context, method, path string, body, answer any) error {
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
	resp, err := c.Open(ctx, method, path, text)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := c.Judge(resp); err != nil {
		return err
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, longestAnswer)).Decode(answer); err != nil {
		return c.Stranger(path)
	}
	return nil
}

// Stranger is the error of an answer for path that no proxy of this version gives.
func (c *Client) Stranger(path string) error {
	path, _, _ = strings.Cut(path, "?")
	return fmt.Errorf("what answers at %s is no proxy of this version: %s is not as it should be", c.base, path)
}

// Ready returns nil if the running proxy is. It needs no password.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return c.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy at %s is not ready (%s)", c.base, resp.Status)
	}
	var said struct{ Ready bool }
	if err := json.NewDecoder(io.LimitReader(resp.Body, longestAnswer)).Decode(&said); err != nil || !said.Ready {
		return c.Stranger("/readyz")
	}
	return nil
}

// Open sends a request and returns its answer, whatever it is, to be closed.
func (c *Client) Open(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if err := c.prove(r); err != nil {
		return nil, err
	}
	resp, err := c.client.Do(r)
	if err == nil {
		return resp, nil
	}
	return nil, c.unanswered(ctx, err)
}

// prove adds the operators' password, and as whom it is used, for the record.
func (c *Client) prove(r *http.Request) error {
	password := c.settings.Password
	if c.settings.PasswordFile != "" {
		var err error
		if password, err = secret.ReadFile(c.settings.PasswordFile); err != nil {
			return fmt.Errorf("DYNPROXY_OPS_PASSWORD_FILE: %w", err)
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
func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if errors.Is(err, errOtherCertificate) {
		return fmt.Errorf("what answers at %s shows %w", c.base, errOtherCertificate)
	}
	return fmt.Errorf("%w at %s; is it running, and with the same OPS_LISTEN?", ErrNotRunning, c.base)
}

// Judge makes an error of an answer that is none of 2xx.
func (c *Client) Judge(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	said := problemIn(resp)
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.settings.Password.Empty() && c.settings.PasswordFile == "":
		return fmt.Errorf("the proxy at %s wants the operators' password: set DYNPROXY_OPS_PASSWORD or DYNPROXY_OPS_PASSWORD_FILE as it has them", c.base)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("the proxy at %s refuses the operators' password of these settings", c.base)
	case said == "" && resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return fmt.Errorf("the proxy at %s does not know %s: it is of an older version, or something else answers there", c.base, resp.Request.URL.Path)
	case said != "" && resp.StatusCode == http.StatusBadRequest:
		return &QuestionError{errors.New(said)}
	case said != "":
		return errors.New(said)
	}
	return fmt.Errorf("the proxy at %s answers %s", c.base, resp.Status)
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

// OnlyCertificate trusts the certificate in a file and no other, by whatever
// name: it is our own, and this machine's.
func OnlyCertificate(path string) *tls.Config {
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
