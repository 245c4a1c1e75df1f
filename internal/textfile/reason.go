package textfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"sync"
)

// Reason is err as people are told of it who know already which file it is
// about: without the call and the path, and where rights are missing, whose.
func Reason(err error) error {
	if inner, is := errors.AsType[*os.PathError](err); is {
		err = inner.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w to the user %s; give it the right, or run this %s", err, whoIsThis(), byWhoMay())
	}
	return err
}

// whoIsThis is the user whom the process runs as.
var whoIsThis = sync.OnceValue(func() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
})

func byWhoMay() string {
	if runtime.GOOS == "windows" {
		return "as an administrator"
	}
	return "with sudo"
}
