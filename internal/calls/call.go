// Package calls knows what the calls of the last while were: one value for a
// finished call, which the access line, the ring, statistics and operators
// read, and the ring that remembers them.
package calls

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/rs/zerolog"
)

// Call is what one finished call was. It holds no query, body, header or
// secret. Its texts are bounded and without control characters.
type Call struct {
	Time   time.Time `json:"time"` // when it ended
	ID     string    `json:"id"`   // Dynproxy-Request-Id, and x-ms-client-request-id at the organization
	Caller string    `json:"caller"`
	Remote string    `json:"remote"`     // address
	Host   string    `json:"host"`       // under which the proxy was called
	Agent  string    `json:"user_agent"` // "" for none

	Tenant  string `json:"tenant"` // "" where none was found
	Method  string `json:"method"`
	Path    string `json:"path"` // as it was asked for, without the query
	OrgPath string `json:"-"`    // at the organization; "" where it did not come to that

	Status   int   `json:"status"`   // what the caller got; 499 for one that left
	In       int64 `json:"in"`       // bytes of its body
	Out      int64 `json:"out"`      // of the answer's
	Attempts int   `json:"attempts"` // requests sent to the organization

	// Total is the sum of the parts that follow.
	Total    time.Duration `json:"-"`
	Queue    time.Duration `json:"-"` // waiting for the caller's rate and for places in the budget
	Token    time.Duration `json:"-"`
	Upstream time.Duration `json:"-"` // from sending until the answer began, and what was read of answers that were not passed on
	Retry    time.Duration `json:"-"` // pauses before another attempt
	Body     time.Duration `json:"-"` // reading what had to come of the request's body before it could be sent
	Answer   time.Duration `json:"-"` // passing the answer on
	Own      time.Duration `json:"-"` // everything else: the proxy's own work

	Operations int    `json:"operations,omitempty"`         // in a batch
	CutOff     bool   `json:"cut_off,omitempty"`            // whether the answer broke off
	Service    string `json:"service_request_id,omitempty"` // the organization's id of the call
	Trace      string `json:"trace_id,omitempty"`           // where calls are traced
	Error      string `json:"error,omitempty"`              // Dynproxy-Error, or caller_left
	OrgCode    string `json:"org_code,omitempty"`           // of the organization's own error, such as 0x80072560
	Reason     string `json:"reason,omitempty"`             // behind Error, for operators
	Hint       string `json:"hint,omitempty"`               // Dynproxy-Hint
	Next       string `json:"-"`                            // Dynproxy-Next
	Message    string `json:"-"`                            // that came with Error

	Tries []Try `json:"-"` // the attempts, the first first
}

// Try is one attempt at the organization.
type Try struct {
	Began    time.Duration // since the call arrived
	Queue    time.Duration
	Token    time.Duration
	Upstream time.Duration
	Status   int           // what came; 0 for no answer
	Result   string        // answered, throttled, unavailable, token_refused, web_page or failed
	OrgCode  string        // of the organization's own error
	Reason   string        // of no answer
	Pause    time.Duration // before the next one
}

// Failure says how the call failed: by its Error, or as "status 503"; "" if it
// did not.
func (c *Call) Failure() string {
	if c.Error == "" && (c.Status >= 400 || c.CutOff) {
		return "status " + strconv.Itoa(c.Status)
	}
	return c.Error
}

// Failed reports whether Failure has something to say.
func (c *Call) Failed() bool { return c.Error != "" || c.Status >= 400 || c.CutOff }

// MarshalZerologObject writes the fields of the access line, but for its time.
func (c *Call) MarshalZerologObject(e *zerolog.Event) {
	e.Str("id", c.ID).Str("caller", c.Caller).Str("remote", c.Remote).Str("host", c.Host).Str("user_agent", c.Agent).
		Str("tenant", c.Tenant).Str("method", c.Method).Str("path", c.Path).
		Int("status", c.Status).Int64("in", c.In).Int64("out", c.Out).
		Dur("ms", c.Total).Dur("queue_ms", c.Queue).Dur("token_ms", c.Token).Dur("upstream_ms", c.Upstream).Dur("retry_ms", c.Retry).
		Dur("body_ms", c.Body).Dur("answer_ms", c.Answer).Dur("own_ms", c.Own).
		Int("attempts", c.Attempts)
	if c.Operations > 0 {
		e.Int("operations", c.Operations)
	}
	if c.CutOff {
		e.Bool("cut_off", true)
	}
	text := func(name, value string) {
		if value != "" {
			e.Str(name, value)
		}
	}
	text("service_request_id", c.Service)
	text("trace_id", c.Trace)
	text("error", c.Error)
	text("org_code", c.OrgCode)
	text("reason", c.Reason)
	text("hint", c.Hint)
}

// line is a Call as JSON: its access line. Times of its parts are milliseconds.
type line struct {
	*fields
	Total    millis `json:"ms"`
	Queue    millis `json:"queue_ms"`
	Token    millis `json:"token_ms"`
	Upstream millis `json:"upstream_ms"`
	Retry    millis `json:"retry_ms"`
	Body     millis `json:"body_ms"`
	Answer   millis `json:"answer_ms"`
	Own      millis `json:"own_ms"`
}

// fields is a Call without its methods.
type fields Call

// millis is a time.Duration that JSON has in milliseconds.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/float64(time.Millisecond), 'f', -1, 64), nil
}

func (m *millis) UnmarshalJSON(text []byte) error {
	ms, err := strconv.ParseFloat(string(text), 64)
	*m = millis(ms * float64(time.Millisecond))
	return err
}

// MarshalJSON writes what the access line has.
func (c *Call) MarshalJSON() ([]byte, error) {
	return json.Marshal(line{
		(*fields)(c), millis(c.Total), millis(c.Queue), millis(c.Token), millis(c.Upstream), millis(c.Retry),
		millis(c.Body), millis(c.Answer), millis(c.Own),
	})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (c *Call) UnmarshalJSON(text []byte) error {
	l := line{fields: (*fields)(c)}
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	c.Total, c.Queue, c.Token, c.Upstream, c.Retry = time.Duration(l.Total), time.Duration(l.Queue), time.Duration(l.Token), time.Duration(l.Upstream), time.Duration(l.Retry)
	c.Body, c.Answer, c.Own = time.Duration(l.Body), time.Duration(l.Answer), time.Duration(l.Own)
	return nil
}

// Plain is text from a stranger as it may stand in a line: at most n bytes of
// it, with ? for each byte that is not printable ASCII.
func Plain(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return replaced(text)
		}
	}
	return text
}

func replaced(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
