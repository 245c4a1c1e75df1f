package limits

import (
	"math"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/retryafter"
)

// Feedback is what one answer of the organization says about the budget. The
// zero Feedback says nothing.
type Feedback struct {
	Refused    LimitKind     // the limit for which the request was refused
	Limit      float64       // named by the refusal: requests, milliseconds or places; zero: none
	Window     time.Duration // named by the refusal; zero: none
	RetryAfter time.Duration // closes the gate, whether or not a limit was named

	HasRequests  bool
	RequestsLeft float64 // in the window, after this request
	HasTime      bool
	TimeLeft     time.Duration // of execution in the window, after this request
	DOPHint      int           // recommended parallelism; shown, not obeyed
}

// longestCooldown bounds what a nonsensical Retry-After can do.
const longestCooldown = time.Hour

// ReadRefusal reads the refusal of a request (status 429, or the SOAP fault
// that stands for it): its error code in hexadecimal or decimal, its message,
// and its Retry-After in any form, where now is by the clock of who refused.
// What it cannot read it leaves out. An error that is no throttling has no kind.
func ReadRefusal(code, message, retryAfter string, now time.Time) Feedback {
	wait, _ := retryafter.Parse(retryAfter, now)
	feedback := Feedback{Refused: kindOf(code, message), RetryAfter: min(wait, longestCooldown)}
	if feedback.Refused == None {
		return feedback
	}
	n := numbers(message)
	if len(n) > 0 && n[0] >= 1 && n[0] <= 1e9 {
		feedback.Limit = math.Floor(n[0])
	}
	if feedback.Refused != Concurrency && len(n) > 1 && n[1] >= 1 && n[1] <= 86400 {
		feedback.Window = time.Duration(n[1] * float64(time.Second))
	}
	return feedback
}

// WithHeaders adds what the rate-limit headers of an answer say: the remaining
// requests, the remaining execution time in seconds, the recommended degree of
// parallelism. Empty or unreadable ones are left out.
func (l Feedback) WithHeaders(requests, seconds, dop string) Feedback {
	if n, ok := number(requests); ok && n <= 1e9 {
		l.HasRequests, l.RequestsLeft = true, math.Floor(n)
	}
	if n, ok := number(seconds); ok && n <= 1e6 {
		l.HasTime, l.TimeLeft = true, time.Duration(n*float64(time.Second))
	}
	if n, ok := number(dop); ok && n >= 1 && n <= 1e6 {
		l.DOPHint = int(n)
	}
	return l
}

// kindOf goes by the code, and by the message only where there is none: SOAP
// and gateways lose codes.
func kindOf(code, message string) LimitKind {
	code = strings.ToLower(strings.TrimSpace(code))
	switch code {
	case "0x80072322", "80072322", "-2147015902", "2147951394":
		return Requests
	case "0x80072321", "80072321", "-2147015903", "2147951393":
		return ExecutionTime
	case "0x80072326", "80072326", "-2147015898", "2147951398":
		return Concurrency
	case "":
	default:
		return None
	}
	message = strings.ToLower(message)
	switch {
	case !strings.Contains(message, "exceeded"):
		return None
	case strings.Contains(message, "combined execution time"):
		return ExecutionTime // its advice speaks of concurrent requests too
	case strings.Contains(message, "number of concurrent requests"):
		return Concurrency
	case strings.Contains(message, "number of requests"):
		return Requests
	}
	return None
}

// numbers finds the numbers of a sentence.
func numbers(s string) []float64 {
	var found []float64
	for len(s) > 0 && len(found) < 4 {
		i := strings.IndexFunc(s, isDigit)
		if i < 0 {
			break
		}
		s = s[i:]
		end := strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) && r != ',' && r != '.' })
		if end < 0 {
			end = len(s)
		}
		if n, ok := number(strings.TrimRight(s[:end], ".,")); ok {
			found = append(found, n)
		}
		s = s[end:]
	}
	return found
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// number reads 6000, 6,000, 1,200.00, 1.200,00 and 1.200.000. Of two kinds of
// separator the last is the decimal one; a separator that stands alone is
// decimal unless it is a comma before three digits, since organizations write
// in English.
func number(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 32 || strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) && r != ',' && r != '.' }) >= 0 {
		return 0, false
	}
	decimal := decimalSeparator(s)
	clean := make([]byte, 0, len(s))
	for i := range len(s) {
		switch {
		case i == decimal:
			clean = append(clean, '.')
		case s[i] != ',' && s[i] != '.':
			clean = append(clean, s[i])
		}
	}
	n, err := strconv.ParseFloat(string(clean), 64)
	return n, err == nil
}

// decimalSeparator is the index of it, or -1.
func decimalSeparator(s string) int {
	last := strings.LastIndexAny(s, ".,")
	if last < 0 || strings.Count(s, s[last:last+1]) > 1 {
		return -1
	}
	alone := strings.IndexAny(s, ".,") == last
	if alone && s[last] == ',' && len(s)-last-1 == 3 {
		return -1
	}
	return last
}
