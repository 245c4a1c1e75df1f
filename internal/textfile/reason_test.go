package textfile

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// Who lacks a right is told, and what to do; whoever asks which error it was
// still finds it.
func TestALackOfRightsNamesTheUserAndTheCure(t *testing.T) {
	err := Reason(&os.PathError{Op: "open", Path: "/etc/secret", Err: fs.ErrPermission})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "to the user "+whoIsThis()+"; give it the right, or run this ") || strings.Contains(err.Error(), "/etc/secret") {
		t.Errorf("%v", err)
	}
	if err := Reason(&os.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}); err != fs.ErrNotExist {
		t.Errorf("%v", err)
	}
}
