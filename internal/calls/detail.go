package calls

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Detail is all that is known of one call.
type Detail struct {
	Call    *Call   `json:"call"`
	SameID  int     `json:"same_id"` // calls that are remembered with this id, this one included; it is the latest
	Message string  `json:"message,omitempty"`
	Next    string  `json:"next"` // what to do, in plain words
	Stages  []Stage `json:"stages"`
}

// Stage is a part of a call's way.
type Stage struct {
	Name    string `json:"stage"`             // rate, body, queue, token, upstream, retry or answer
	Attempt int    `json:"attempt,omitempty"` // from 1; 0 for what belongs to none
	At      millis `json:"at_ms"`             // since the call arrived
	Took    millis `json:"ms"`
	Status  int    `json:"status,omitempty"` // that an attempt was answered with
	Result  string `json:"result,omitempty"` // what an attempt came to, at its last stage
	OrgCode string `json:"org_code,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Begins is when the stage began, since the call arrived.
func (s Stage) Begins() time.Duration { return time.Duration(s.At) }

// Lasted is how long the stage took.
func (s Stage) Lasted() time.Duration { return time.Duration(s.Took) }

// Say is what an attempt came to, in words; "" for a stage that was not its
// last.
func (s Stage) Say() string {
	words := map[string]string{
		"answered":      "answered with %d",
		"throttled":     "throttled by the organization with %d",
		"unavailable":   "the organization is not available: %d",
		"token_refused": "the token was refused with %d",
		"web_page":      "a web page came in place of an answer, with %d",
		"failed":        "no answer",
	}[s.Result]
	if strings.Contains(words, "%d") {
		words = fmt.Sprintf(words, s.Status)
	}
	for _, more := range []string{s.OrgCode, s.Reason} {
		if more != "" {
			words = strings.TrimPrefix(words+", "+more, ", ")
		}
	}
	return words
}

// Explain returns the latest call with this id and all that is known of it. It
// reports false if none is remembered.
func (r *Ring) Explain(id string) (Detail, bool) {
	c, times := r.find(id)
	if c == nil {
		return Detail{}, false
	}
	return Detail{Call: c, SameID: times, Message: c.Message, Next: c.next(), Stages: c.stages()}, true
}

// stages are what the call spent its time on, in order. What lies between them
// is the proxy's own work.
func (c *Call) stages() []Stage {
	stages := []Stage{} // in JSON an empty list
	add := func(s Stage) {
		if s.Took > 0 || s.Result != "" {
			stages = append(stages, s)
		}
	}
	arrived := c.Total
	held := c.Queue
	for i, t := range c.Tries {
		held -= t.Queue
		if i == 0 {
			arrived = t.Began
		}
	}
	add(Stage{Name: "rate", At: millis(max(0, arrived-c.Body-held)), Took: millis(held)})
	add(Stage{Name: "body", At: millis(max(0, arrived-c.Body)), Took: millis(c.Body)})
	for i, t := range c.Tries {
		at := t.Began
		of := []Stage{{Name: "queue", Took: millis(t.Queue)}, {Name: "token", Took: millis(t.Token)}, {Name: "upstream", Took: millis(t.Upstream)}}
		last := 0
		for j := range of {
			of[j].Attempt, of[j].At = i+1, millis(at)
			at += time.Duration(of[j].Took)
			if of[j].Took > 0 {
				last = j
			}
		}
		of[last].Status, of[last].Result, of[last].OrgCode, of[last].Reason = t.Status, t.Result, t.OrgCode, t.Reason
		for _, s := range of {
			add(s)
		}
		add(Stage{Name: "retry", Attempt: i + 1, At: millis(at), Took: millis(t.Pause)})
	}
	add(Stage{Name: "answer", At: millis(c.Total - c.Answer), Took: millis(c.Answer)})
	return stages
}

// next says what to do about the call.
func (c *Call) next() string {
	switch {
	case c.Error == "caller_left":
		return fmt.Sprintf("The caller gave up after %v, before its answer was there. The stages say what the time was spent on; let the caller wait longer, or see why it takes so long.", c.Total.Round(time.Millisecond))
	case c.Error != "":
		return c.Message
	case c.Next != "":
		return c.Next
	case c.CutOff:
		return "The answer broke off in the middle: the caller left, or took it too slowly, or the organization broke off. Send the request again if it was a read."
	case c.Status >= 500:
		return "The organization failed by itself. See 'dynproxy check " + c.Tenant + "', and its status in the Power Platform admin center."
	case c.Status >= 400:
		return "The organization refused this request (" + cmp.Or(c.OrgCode, "it gave no code") + "): its own words are in the answer that the caller got. Microsoft's support finds the request by its service request id."
	}
	return "Nothing: the call succeeded."
}
