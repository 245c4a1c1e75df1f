//go:build !windows

package service

import (
	"context"
	"errors"
)

// Run is for Windows, whose service manager talks to the process itself.
func Run(context.Context, func(context.Context, *Host) int) error {
	return errors.New("serve --service is for Windows' service manager; here a service runs dynproxy serve")
}
