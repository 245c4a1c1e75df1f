package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tree returns the process and those it has started, and theirs.
func tree(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, tree(child)...)
			}
		}
	}
	return all
}

// spent is the processor time, user and system, of the process and its
// children so far, to the nanosecond.
func (p *peer) spent() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range tree(p.root) {
		// Linux gives each process a clock of the time it has run: see
		// clock_getcpuclockid(3).
		const scheduled = 2
		var ran unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ran); err != nil {
			return 0, fmt.Errorf("the clock of process %d: %w", pid, err)
		}
		sum += time.Duration(ran.Nano())
	}
	return sum, nil
}

// resident is a figure of memory of the process and its children, in bytes:
// "VmRSS" for what they hold now, "VmHWM" for the most they have held since
// forgetPeak.
func (p *peer) resident(figure string) (float64, error) {
	sum := 0.0
	for _, pid := range tree(p.root) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(text), "\n"+figure+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0, fmt.Errorf("process %d has no %s", pid, figure)
		}
		n, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, err
		}
		sum += n * 1024
	}
	return sum, nil
}

// forgetPeak lets "VmHWM" begin anew: see proc_pid_clear_refs(5).
func (p *peer) forgetPeak() error {
	for _, pid := range tree(p.root) {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}
