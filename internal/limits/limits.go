// Package limits keeps the calls of all callers within the budget that an
// organization grants one application user: so many requests and so much
// execution time in a sliding window, so many requests at once. A call enters
// through a Gate, waits its turn there if it must, and on its way out tells
// what the organization's answer taught about the budget.
//
// The package knows no HTTP: what an answer said arrives as Feedback.
package limits

import (
	"errors"
	"fmt"
	"time"
)

// Key says whose budget it is: the organization counts for each application
// user, whatever the number of tenants, callers and connections behind it.
type Key struct {
	Organization string // host of the organization
	ClientID     string // application id
}

// Mode says what a Gate does about a budget.
type Mode uint8

const (
	Enforce Mode = iota // wait, and refuse what would wait too long
	Report              // admit at once, count what would have waited
	Off                 // admit at once, count only what is in flight
)

// Budget is what one application user may use. A limit of zero means that
// there is none, until the organization names one.
type Budget struct {
	Rate          float64       // requests a second, on top of the window
	Burst         int           // requests at once under Rate, at least 1
	Requests      int           // in any Window
	Window        time.Duration // zero means 5 minutes
	ExecutionTime time.Duration // summed over all requests in any Window
	Concurrency   int           // requests in flight, until their answers end
	QueueWait     time.Duration // how long this call may wait
	QueueLength   int           // waiting calls of all callers; zero means 1000
	Mode          Mode
}

const (
	defaultWindow      = 5 * time.Minute
	defaultQueueLength = 1000
)

// normal is b with its defaults filled in.
func (b Budget) normal() Budget {
	if b.Window <= 0 {
		b.Window = defaultWindow
	}
	if b.QueueLength <= 0 {
		b.QueueLength = defaultQueueLength
	}
	b.Burst = max(b.Burst, 1)
	return b
}

// LimitKind is one of the organization's three limits.
type LimitKind uint8

const (
	None LimitKind = iota
	Requests
	ExecutionTime
	Concurrency
	limitKinds int = iota
)

// String names the limit for logs and metrics.
func (k LimitKind) String() string {
	switch k {
	case Requests:
		return "requests"
	case ExecutionTime:
		return "execution_time"
	case Concurrency:
		return "concurrency"
	}
	return "none"
}

// Code is the error code with which an organization refuses a request over
// this limit. A refusal that names no limit has the code of Requests.
func (k LimitKind) Code() string {
	switch k {
	case ExecutionTime:
		return "0x80072321"
	case Concurrency:
		return "0x80072326"
	}
	return "0x80072322"
}

// Full refuses a call that would have to wait longer than it may.
type Full struct {
	Kind       LimitKind
	RetryAfter time.Duration // whole seconds, at least one
}

func (f *Full) Error() string {
	return fmt.Sprintf("no room within the %s limit, try again in %v", f.Kind, f.RetryAfter)
}

// ErrDropped is told to calls that wait when their key is dropped.
var ErrDropped = errors.New("budget dropped while waiting")
