// Package retryafter reads how long to wait, in every form in which
// organizations, login services and the boxes before them say it, and waits.
package retryafter

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// longest is the longest wait that is believed: what asks for more asks for
// this.
const longest = 24 * time.Hour

// maxLength is longer than any value with a meaning.
const maxLength = 64

// Parse reads a Retry-After, as header or as detail of a SOAP fault: seconds
// with or without decimals, hh:mm:ss as .NET writes it (with days and
// fractions), an xs:duration, or an HTTP date, from which now, the sender's, is
// subtracted.
// The wait is never negative and never above longest. told is false for what
// is none of these.
func Parse(value string, now time.Time) (wait time.Duration, told bool) {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > maxLength {
		return 0, false
	}
	for _, form := range [...]func(string) (float64, bool){plain, clock, duration} {
		if seconds, ok := form(value); ok {
			return bound(seconds), true
		}
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), longest), true
	}
	return 0, false
}

// Clock is the time by the clock of whoever sent an answer with this header,
// against which the dates in it count; our own where it does not say.
func Clock(header http.Header) time.Time {
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

// bound turns seconds, of whatever size or sign, into a wait.
func bound(seconds float64) time.Duration {
	seconds = min(max(seconds, 0), longest.Seconds())
	return time.Duration(seconds * float64(time.Second))
}

var plainForm = regexp.MustCompile(`^[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?$`)

// plain reads 5, 1.5 and, as Dataverse writes other numbers, 1,200.00.
func plain(s string) (float64, bool) {
	if !plainForm.MatchString(s) {
		return 0, false
	}
	return number(strings.ReplaceAll(s, ",", "")), true
}

var clockForm = regexp.MustCompile(`^(-?)(?:([0-9]+)\.)?([0-9]+):([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]+)?)$`)

// clock reads [d.]hh:mm:ss[.fff].
func clock(s string) (float64, bool) {
	m := clockForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	return sign(m[1]) * (number(m[2])*86400 + number(m[3])*3600 + number(m[4])*60 + number(m[5])), true
}

var durationForm = regexp.MustCompile(`^(-?)P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]+)?)S)?)?$`)

// duration reads PnYnMnDTnHnMnS. Months and years are above longest, however
// long they are.
func duration(s string) (float64, bool) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil || s[len(s)-1] == 'P' || s[len(s)-1] == 'T' {
		return 0, false
	}
	days := number(m[2])*365 + number(m[3])*30 + number(m[4])
	return sign(m[1]) * (days*86400 + number(m[5])*3600 + number(m[6])*60 + number(m[7])), true
}

func sign(s string) float64 {
	if s == "-" {
		return -1
	}
	return 1
}

// number reads digits that a form above has let through; none are 0. What is
// too large for a float64 is infinite, which bound knows to handle.
func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}
