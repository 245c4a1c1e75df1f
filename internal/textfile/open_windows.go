package textfile

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

const lineEnd = "\r\n"

// open is os.Open, and lets others rename and delete the file meanwhile, as they
// can elsewhere.
func open(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// rename is os.Rename, and replaces a file too that others have open, if they let
// it be deleted: as elsewhere they go on reading the old one. Older Windows, and
// file systems other than NTFS, cannot do that.
func rename(from, to string) error {
	if renameOverOpen(from, to) == nil {
		return nil
	}
	return os.Rename(from, to)
}

// renameInfo is Windows' FILE_RENAME_INFO, with room for the longest path.
type renameInfo struct {
	flags  uint32
	root   windows.Handle
	length uint32 // of name, in bytes
	name   [windows.MAX_LONG_PATH]uint16
}

func renameOverOpen(from, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	wide, err := windows.UTF16FromString(to)
	if err != nil || len(wide) > windows.MAX_LONG_PATH {
		return windows.ERROR_INVALID_NAME
	}
	source, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(source, windows.DELETE|windows.SYNCHRONIZE, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	info := &renameInfo{flags: windows.FILE_RENAME_REPLACE_IF_EXISTS | windows.FILE_RENAME_POSIX_SEMANTICS, length: uint32(2 * (len(wide) - 1))}
	copy(info.name[:], wide)
	size := uint32(unsafe.Offsetof(info.name)) + uint32(2*len(wide))
	return windows.SetFileInformationByHandle(h, windows.FileRenameInfoEx, (*byte)(unsafe.Pointer(info)), size)
}
