package limits

import (
	"testing"
	"time"
)

func TestReadRefusal(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	const (
		requests    = "Number of requests exceeded the limit of 6000 over time window of 300 seconds."
		execution   = "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later."
		concurrency = "Number of concurrent requests exceeded the limit of 52."
	)
	for _, c := range []struct {
		name, code, message, retryAfter string
		want                            Feedback
	}{
		{"requests", "0x80072322", requests, "17", Feedback{Refused: Requests, Limit: 6000, Window: 5 * time.Minute, RetryAfter: 17 * time.Second}},
		{"time", "0x80072321", execution, "240", Feedback{Refused: ExecutionTime, Limit: 1.2e6, Window: 5 * time.Minute, RetryAfter: 4 * time.Minute}},
		{"concurrency", "0x80072326", concurrency, "1", Feedback{Refused: Concurrency, Limit: 52, RetryAfter: time.Second}},
		{"SOAP decimal code and time span", "-2147015902", requests, "00:00:05.5", Feedback{Refused: Requests, Limit: 6000, Window: 5 * time.Minute, RetryAfter: 5500 * time.Millisecond}},
		{"upper case", "0X80072326", concurrency, "", Feedback{Refused: Concurrency, Limit: 52}},
		{"date", "0x80072322", "", "Mon, 23 Nov 2026 08:00:30 GMT", Feedback{Refused: Requests, RetryAfter: 30 * time.Second}},
		{"past date", "0x80072322", "", "Mon, 23 Nov 2026 07:00:30 GMT", Feedback{Refused: Requests}},
		{"an xs:duration", "-2147015902", "", "PT1M5S", Feedback{Refused: Requests, RetryAfter: 65 * time.Second}},
		{"minutes as an xs:duration", "0x80072326", "", "PT5M", Feedback{Refused: Concurrency, RetryAfter: 5 * time.Minute}},
		{"by message alone", "", concurrency, "", Feedback{Refused: Concurrency, Limit: 52}},
		{"time by message alone", "", execution, "", Feedback{Refused: ExecutionTime, Limit: 1.2e6, Window: 5 * time.Minute}},
		{"another error that speaks of requests", "0x80040265", requests, "", Feedback{}},
		{"a gateway's", "", "Too many requests", "3", Feedback{RetryAfter: 3 * time.Second}},
		{"absurd wait", "0x80072322", "", "99999999999999999999", Feedback{Refused: Requests, RetryAfter: time.Hour}},
		{"absurd span", "0x80072322", "", "9999999:00:00", Feedback{Refused: Requests, RetryAfter: time.Hour}},
		{"nonsense", "0x80072322", "limit of 0 over 0 seconds", "-5", Feedback{Refused: Requests}},
		{"absurd limit", "0x80072326", "limit of 99999999999999.", "x:y:z", Feedback{Refused: Concurrency}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ReadRefusal(c.code, c.message, c.retryAfter, now); got != c.want {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestRateLimitHeaders(t *testing.T) {
	for _, c := range []struct {
		requests, seconds, dop string
		want                   Feedback
	}{
		{"5999", "1,200.00", "4", Feedback{HasRequests: true, RequestsLeft: 5999, HasTime: true, TimeLeft: 20 * time.Minute, DOPHint: 4}},
		{"7,999", "1199.5", "", Feedback{HasRequests: true, RequestsLeft: 7999, HasTime: true, TimeLeft: 1199500 * time.Millisecond}},
		{"0", "0", "0", Feedback{HasRequests: true, HasTime: true}},
		{"-1", "NaN", "many", Feedback{}},
		{"", "", "", Feedback{}},
		{"1e308", "0x10", "1 000", Feedback{}},
	} {
		if got := (Feedback{}).WithHeaders(c.requests, c.seconds, c.dop); got != c.want {
			t.Errorf("%q %q %q: got %+v, want %+v", c.requests, c.seconds, c.dop, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for s, want := range map[string]float64{
		"6000": 6000, "6,000": 6000, "1,200.00": 1200, "1.200,00": 1200, "1,200,000": 1.2e6,
		"1.200.000": 1.2e6, "12,5": 12.5, "0.125": 0.125, " 52 ": 52,
	} {
		if got, ok := number(s); !ok || got != want {
			t.Errorf("number(%q) = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", ".", ",", "-1", "1e5", "abc", "1 200", "Inf"} {
		if got, ok := number(s); ok {
			t.Errorf("number(%q) = %v, want none", s, got)
		}
	}
}

func FuzzReadRefusal(f *testing.F) {
	f.Add("0x80072322", "limit of 6,000 over 300 seconds", "5", "1,200.00")
	f.Add("", "Number of concurrent requests exceeded the limit of 52.", "00:00:01", "..")
	f.Fuzz(func(t *testing.T, code, message, retryAfter, left string) {
		l := ReadRefusal(code, message, retryAfter, time.Unix(1e9, 0)).WithHeaders(left, left, left)
		if l.RetryAfter < 0 || l.RetryAfter > time.Hour || l.Window < 0 || l.Window > 24*time.Hour ||
			l.Limit < 0 || l.Limit > 1e9 || l.RequestsLeft < 0 || l.TimeLeft < 0 || l.DOPHint < 0 {
			t.Errorf("out of bounds: %+v", l)
		}
	})
}
