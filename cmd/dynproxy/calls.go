package main

import (
	"dynproxy/internal/calls"
	"dynproxy/internal/problem"
)

// callDone tells a finished call to whoever keeps count.
func (h *server) callDone(c *calls.Call) {
	if c.Tenant != "" && c.Error != string(problem.CallerLeft) {
		h.board.OnCallDone(c.Tenant, c.Failure())
	}
}
