package textfile

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// entropy keeps other programs, which ask Windows with none, from reading what
// they find by chance. It is no secret: who may open the file is what counts.
var entropy = []byte("dynproxy protected secret 1")

func seal(content []byte) ([]byte, error) {
	var out windows.DataBlob
	err := windows.CryptProtectData(blob(content), nil, blob(entropy), 0, nil, windows.CRYPTPROTECT_LOCAL_MACHINE|windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, fmt.Errorf("Windows cannot protect it: %w", err)
	}
	return taken(out), nil
}

func unseal(sealed []byte) ([]byte, error) {
	var out windows.DataBlob
	err := windows.CryptUnprotectData(blob(sealed), nil, blob(entropy), 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, errors.New("it was protected on another machine, or before Windows was installed anew: make it again with dynproxy secret protect")
	}
	return taken(out), nil
}

func blob(content []byte) *windows.DataBlob {
	return &windows.DataBlob{Size: uint32(len(content)), Data: unsafe.SliceData(content)}
}

// taken copies what the system has allocated, and gives that back.
func taken(b windows.DataBlob) []byte {
	defer windows.LocalFree(windows.Handle(unsafe.Pointer(b.Data)))
	content := unsafe.Slice(b.Data, b.Size)
	own := append([]byte(nil), content...)
	clear(content)
	return own
}
