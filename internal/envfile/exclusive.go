package envfile

import (
	"errors"
	"fmt"
	"time"
)

var (
	errHeld   = errors.New("somebody else changes it")
	errUnsure = errors.New("somebody else changes it, or nobody may")
)

const (
	holdWithin = 2 * time.Second
	holdAgain  = 10 * time.Millisecond
)

// Exclusive does change while nobody else does so for dir, in this process or
// another: what is read, changed and written would else be lost to whoever
// writes last. Where a file system knows no locks, nothing is waited for.
func Exclusive(dir string, change func() error) error {
	for end := time.Now().Add(holdWithin); ; time.Sleep(holdAgain) {
		release, err := hold(dir)
		switch {
		case err == nil:
			defer release()
			return change()
		case !errors.Is(err, errHeld) && !errors.Is(err, errUnsure):
			return change()
		case time.Now().Before(end):
		case errors.Is(err, errUnsure):
			return change() // which says better what is wrong
		default:
			return fmt.Errorf("%s has been held by another change for %v; try again", dir, holdWithin)
		}
	}
}
