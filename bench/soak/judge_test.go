package main

import (
	"strings"
	"testing"
)

// What is lost, doubled, or done against what its caller was told, is found.
func TestWritesAreHeldAgainstTheRecords(t *testing.T) {
	told := map[string]fate{"a": done, "b": not, "c": maybe, "d": maybe}
	for name, c := range map[string]struct {
		counted map[string]int
		wrong   string
	}{
		"all right": {map[string]int{"a": 1, "c": 1}, ""},
		"lost":      {map[string]int{"c": 1}, "a is lost"},
		"doubled":   {map[string]int{"a": 1, "d": 2}, "d was done 2 times"},
		"denied":    {map[string]int{"a": 1, "b": 1}, "b was done"},
		"invented":  {map[string]int{"a": 1, "x": 1}, "nobody has sent x"},
	} {
		_, err := (&ledger{fates: told, reads: 1}).compare(c.counted)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A leak of a little in every lap is told from noise and from the beginning.
func TestWhatGrowsIsFound(t *testing.T) {
	var still, leaks []sample
	for lap := range 60 {
		noise := float64(lap * 7 % 5)
		begins := float64(min(lap, 10))
		still = append(still, sample{30e6 + 1e6*begins, 60 + noise, 30 + noise})
		leaks = append(leaks, sample{30e6 + 1e6*begins, 60 + noise + float64(2*lap), 30 + noise})
	}
	if err := flat(still); err != nil {
		t.Error(err)
	}
	if err := flat(leaks); err == nil || !strings.Contains(err.Error(), "goroutines grow") {
		t.Error(err)
	}
}
