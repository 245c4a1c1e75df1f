package retryafter

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func TestEveryForm(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "17": 17 * time.Second, " 17 ": 17 * time.Second, "+5": 5 * time.Second, "0005": 5 * time.Second,
		"1.5": 1500 * time.Millisecond, "5.": 5 * time.Second, "0.25": 250 * time.Millisecond, "1,200.00": 20 * time.Minute, "1,200": 20 * time.Minute,
		"86400": longest, "86401": longest, "99999999999999999999": longest, strings.Repeat("9", 60): longest,
		"-5": 0, "-0.5": 0,

		"00:00:30": 30 * time.Second, "00:01:05": 65 * time.Second, "1:00:00": time.Hour, "00:00:01.5": 1500 * time.Millisecond,
		"00:05:00.0000000": 5 * time.Minute, "1.00:00:00": longest, "0.00:00:07": 7 * time.Second, "-00:00:05": 0,
		"9999999:00:00": longest, "00:00:90": 90 * time.Second,

		"PT5S": 5 * time.Second, "PT1M5S": 65 * time.Second, "PT5M": 5 * time.Minute, "PT0.5S": 500 * time.Millisecond, "PT1H": time.Hour,
		"PT1H2M3.25S": time.Hour + 2*time.Minute + 3250*time.Millisecond, "P1DT2H": longest, "P0DT2H": 2 * time.Hour, "P1D": longest,
		"P1Y": longest, "P1M": longest, "P0Y0M0DT0H0M4S": 4 * time.Second, "-PT5S": 0, "-P1D": 0, "PT0S": 0, "PT300S": 5 * time.Minute,
		"PT99999999999999999999999S": longest,

		"Mon, 23 Nov 2026 08:00:30 GMT":  30 * time.Second,
		"Monday, 23-Nov-26 08:00:30 GMT": 30 * time.Second,
		"Mon Nov 23 08:00:30 2026":       30 * time.Second,
		"Mon, 23 Nov 2026 07:00:30 GMT":  0,
		"Wed, 23 Nov 2050 08:00:30 GMT":  longest,
	} {
		got, told := Parse(value, now)
		if !told || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", value, got, told, want)
		}
	}
}

func TestWhatTellsNothing(t *testing.T) {
	for _, value := range []string{
		"", " ", "soon", "5s", "5 s", "1e3", "0x5", "NaN", "Inf", "1,2", "1,5000", ".", "-", ".5", "5,", "x:y:z", "1:2", "1:2:3:4", "00:00:", "00:-1:00",
		"P", "PT", "-P", "P1DT", "P5", "PT5", "P5S", "PT1D", "PT1.5M", "P1.5D", "PT5S5S", "PT5s", "pt5s", "PT-5S", "P-1D", "+PT5S", "PT5S x",
		"Mon, 23 Nov 2026", "2026-11-23T08:00:30Z", "5\x00", "５", strings.Repeat("9", 65),
	} {
		if got, told := Parse(value, now); told || got != 0 {
			t.Errorf("Parse(%q) = %v, %v; want nothing", value, got, told)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"17", "1.5", "00:00:30", "1.00:00:00.5", "PT1M5S", "-P1DT2H", "Mon, 23 Nov 2026 08:00:30 GMT", "1,200.00", "9e9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		wait, told := Parse(value, now)
		if wait < 0 || wait > longest || !told && wait != 0 {
			t.Fatalf("Parse(%q) = %v, %v", value, wait, told)
		}
	})
}

// FuzzOneWait says the same wait in every form, and has it read back.
func FuzzOneWait(f *testing.F) {
	f.Add(uint32(0))
	f.Add(uint32(65))
	f.Add(uint32(90061))
	f.Fuzz(func(t *testing.T, n uint32) {
		n %= 200000
		want := min(time.Duration(n)*time.Second, longest)
		d, h, m, s := n/86400, n/3600%24, n/60%60, n%60
		for _, value := range []string{
			fmt.Sprint(n), fmt.Sprintf("%d.0", n), fmt.Sprintf("%02d:%02d:%02d", n/3600, m, s), fmt.Sprintf("%d.%02d:%02d:%02d", d, h, m, s),
			fmt.Sprintf("PT%dS", n), fmt.Sprintf("PT%dM%dS", n/60, s), fmt.Sprintf("P%dDT%dH%dM%dS", d, h, m, s),
			now.Add(time.Duration(n) * time.Second).Format(http.TimeFormat),
		} {
			if got, told := Parse(value, now); !told || got != want {
				t.Fatalf("Parse(%q) = %v, %v; want %v", value, got, told, want)
			}
		}
	})
}

func TestDatesCountByTheSendersClock(t *testing.T) {
	if got := Clock(http.Header{"Date": {"Mon, 23 Nov 2026 08:00:00 GMT"}}); !got.Equal(now) {
		t.Error(got)
	}
	for _, header := range []http.Header{{}, {"Date": {"soon"}}} {
		if ago := time.Since(Clock(header)); ago < 0 || ago > time.Minute {
			t.Errorf("%v: %v ago", header, ago)
		}
	}
}
