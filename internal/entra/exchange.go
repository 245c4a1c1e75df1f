package entra

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/retryafter"
)

const (
	maxAnswer         = 1 << 20
	throttledFor      = time.Minute // when Entra ID throttles and does not say for how long
	longestRetryAfter = 5 * time.Minute
)

// exchange is MSAL's HTTP client for one mint. It answers discovery itself,
// since the addresses of Entra ID follow from host and tenant, and it reads
// what comes back in MSAL's place: an answer that is no token must not be taken
// for one, MSAL's errors quote it, and MSAL gives a good token up for what
// stands beside it.
type exchange struct {
	client *http.Client

	failed *Error // why there is no token
	token  answer
	asked  time.Time // when the token was asked for
}

// answer is the token endpoint's.
type answer struct {
	AccessToken   string  `json:"access_token"`
	TokenType     string  `json:"token_type"`
	ExpiresIn     seconds `json:"expires_in"`
	RefreshIn     seconds `json:"refresh_in"`
	Error         string  `json:"error"`
	Codes         numbers `json:"error_codes"`
	TraceID       string  `json:"trace_id"`
	CorrelationID string  `json:"correlation_id"`
}

// plainAnswer is all that MSAL is to know of a token.
const plainAnswer = `{"token_type":"Bearer","expires_in":3600,"access_token":"held elsewhere"}`

// seconds are a time to come, written as a number or as a string, 0 for none
// and for what cannot be read: the token beside it still counts.
type seconds time.Duration

// longestLife bounds seconds, so that none is too large to be counted with.
const longestLife = 100 * 24 * time.Hour

// UnmarshalJSON is json.Unmarshaler's. It never fails.
func (s *seconds) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), "\" "), 64)
	if *s = 0; f > 0 && (err == nil || errors.Is(err, strconv.ErrRange)) {
		*s = seconds(min(f, longestLife.Seconds()) * float64(time.Second))
	}
	return nil
}

// numbers are AADSTS numbers. Some who answer in Entra ID's place write them as
// strings, or as nothing that can be read; the error beside them still counts.
type numbers []int

// UnmarshalJSON is json.Unmarshaler's. It takes what it can read and never
// fails.
func (n *numbers) UnmarshalJSON(data []byte) error {
	var list []any
	if json.Unmarshal(data, &list) != nil {
		return nil
	}
	for _, one := range list {
		if code, err := strconv.Atoi(fmt.Sprint(one)); err == nil {
			*n = append(*n, code)
		} else if f, ok := one.(float64); ok {
			*n = append(*n, int(f))
		}
	}
	return nil
}

const discoveryPath = "/v2.0/.well-known/openid-configuration"

var errNoToken = errors.New("no token")

func (x *exchange) CloseIdleConnections() {}

// Do is http.Client's.
func (x *exchange) Do(r *http.Request) (*http.Response, error) {
	if tenant, ok := strings.CutSuffix(r.URL.Path, discoveryPath); ok && r.Method == http.MethodGet {
		return discovery(r, "https://"+r.URL.Host+tenant), nil
	}
	x.asked = time.Now()
	resp, err := x.client.Do(r)
	if err != nil {
		x.failed = &Error{Class: Transient, Reason: "the login service cannot be reached", Err: plain(err)}
		return nil, errNoToken
	}
	defer resp.Body.Close()
	body, err := read(resp)
	if err != nil {
		x.failed = &Error{Class: Transient, Status: resp.StatusCode, Reason: "the answer broke off", Err: plain(err)}
		return nil, errNoToken
	}
	if x.failed = x.judge(resp, body); x.failed != nil {
		return nil, errNoToken
	}
	return jsonAnswer(r, []byte(plainAnswer)), nil
}

// read returns the body of an answer, up to a bound. Nobody asked for a coding,
// and what stands between may use one all the same.
func read(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || !bytes.HasPrefix(body, []byte(gzipMagic)) {
		return body, err
	}
	plain, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(plain, maxAnswer))
}

const gzipMagic = "\x1f\x8b"

// judge reads an answer, and returns why it is no token, or nil.
func (x *exchange) judge(resp *http.Response, body []byte) *Error {
	status := resp.StatusCode
	x.token = answer{}
	err := json.Unmarshal(body, &x.token)
	a := &x.token
	wait := retryAfter(resp.Header)
	if status == http.StatusTooManyRequests && wait == 0 {
		wait = throttledFor
	}
	switch {
	case status >= 300 && status < 400:
		return &Error{Class: Transient, Status: status, RetryAfter: wait, Reason: "the login service redirects, which is not followed"}
	case err == nil && a.Error != "":
		return &Error{
			Class: classify(status, a.Error, a.Codes), Status: status, OAuth: word(a.Error), Codes: a.Codes,
			TraceID: word(a.TraceID), CorrelationID: word(a.CorrelationID), RetryAfter: wait, Reason: "the login service refuses",
		}
	case status == http.StatusTooManyRequests, status >= 500:
		return &Error{Class: Transient, Status: status, RetryAfter: wait, Reason: "the login service answers with an error"}
	case status != http.StatusOK, err != nil: // Entra ID always names its error
		return &Error{Class: Transient, Status: status, RetryAfter: wait, Reason: "the login service's answer is no token but something else; does a proxy answer in its place?"}
	case !strings.EqualFold(a.TokenType, "Bearer") || !canBeSent(a.AccessToken):
		return &Error{Class: Transient, Status: status, Reason: "the login service's answer holds no bearer token"}
	case a.ExpiresIn == 0:
		return &Error{Class: Transient, Status: status, Reason: "the login service's answer does not say how long the token lasts"}
	}
	return nil
}

// canBeSent reports whether a token can stand in a header: one that cannot would
// make each of its calls fail.
func canBeSent(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// minted is the token of the last exchange. Its life counts from the question,
// not from the answer.
func (x *exchange) minted() Token {
	t := Token{Header: "Bearer " + x.token.AccessToken, Expires: x.asked.Add(time.Duration(x.token.ExpiresIn))}
	if in := time.Duration(x.token.RefreshIn); in > 0 {
		t.Refresh = x.asked.Add(in)
	}
	return t
}

// word keeps what Entra ID names things with, and nothing that could be more.
func word(s string) string {
	if len(s) > 64 || strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.") != "" {
		return ""
	}
	return s
}

func discovery(r *http.Request, base string) *http.Response {
	text, _ := json.Marshal(map[string]string{
		"issuer":                 base + "/v2.0",
		"authorization_endpoint": base + "/oauth2/v2.0/authorize",
		"token_endpoint":         base + "/oauth2/v2.0/token",
	})
	return jsonAnswer(r, text)
}

func jsonAnswer(r *http.Request, text []byte) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// retryAfter reads the header, up to a bound; 0 without one.
func retryAfter(header http.Header) time.Duration {
	wait, _ := retryafter.Parse(header.Get("Retry-After"), retryafter.Clock(header))
	return min(wait, longestRetryAfter)
}

// plain is a network error in words that quote nothing of what was sent.
func plain(err error) error { return errors.New(egress.Explain(err)) }
