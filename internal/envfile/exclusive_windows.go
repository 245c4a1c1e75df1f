package envfile

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// hold opens a file for itself alone, which goes when it is closed.
func hold(dir string) (release func(), err error) {
	name, err := windows.UTF16PtrFromString(filepath.Join(dir, ".changing"))
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_WRITE|windows.DELETE, 0, nil,
		windows.CREATE_ALWAYS, windows.FILE_ATTRIBUTE_HIDDEN|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_DELETE_PENDING):
		return nil, errHeld
	case errors.Is(err, windows.ERROR_ACCESS_DENIED): // which is also said of one that is just going
		return nil, errUnsure
	case err != nil:
		return nil, err
	}
	return func() { windows.CloseHandle(h) }, nil
}
