package main

import (
	"errors"
	"testing"

	"dynproxy/internal/service"
)

func TestTheEndOfAServiceIsTheEventThatItIs(t *testing.T) {
	some := errors.New("some")
	for _, c := range []struct {
		err    error
		code   int
		served bool
		want   service.Event
	}{
		{nil, 0, true, service.Stopped}, {nil, 0, false, service.Stopped},
		{some, 2, false, service.SettingsRefused}, {some, 1, false, service.StartFailed}, {some, 1, true, service.EndedByError},
	} {
		if got := lastEvent(c.err, c.code, c.served); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
