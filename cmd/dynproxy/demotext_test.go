package main

import (
	"regexp"
	"strings"
	"testing"
)

// What the demo prints can be typed as it stands, says what it shows, and ends
// with the portal: in PowerShell as in a shell.
func TestTheDemoSaysWhatEachLineShows(t *testing.T) {
	for _, c := range []struct {
		windows bool
		curl    string
	}{{false, "curl"}, {true, "curl.exe"}} {
		text := demoText("http://127.0.0.1:8080", "http://127.0.0.1:8081", c.windows)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if last := lines[len(lines)-1]; last != "  http://127.0.0.1:8081/" {
			t.Errorf("it ends with %q", last)
		}
		found := 0
		for i, line := range lines {
			typed := strings.TrimSpace(line)
			if !strings.HasPrefix(typed, "curl") {
				continue
			}
			found++
			// Single quotes, and in pairs: nothing in them means anything to a shell.
			outside := regexp.MustCompile(`'[^']*'`).ReplaceAllString(typed, "Q")
			if !strings.HasPrefix(typed, c.curl+" ") || strings.ContainsAny(outside, "$\"'`&;()") || !strings.HasSuffix(outside, " Q") {
				t.Errorf("windows %v: %q is not to be typed as it stands", c.windows, typed)
			}
			if said := strings.TrimSpace(lines[i-1]); !strings.HasSuffix(said, ".") || len(said) < 40 {
				t.Errorf("%q is not explained: %q", typed, said)
			}
		}
		if found != len(tour) {
			t.Errorf("windows %v: %d lines", c.windows, found)
		}
	}
}
