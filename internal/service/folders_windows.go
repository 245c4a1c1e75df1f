package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/windows"
)

// The folders inside the service's own: those that it reads, and those in which
// it writes.
var (
	readFolders  = []string{"secrets"}
	writeFolders = []string{"tenants", "callers", "state", logsFolder}
)

// makeFolders makes root and the folders in it, and lets account into them.
func makeFolders(root, account string) error {
	if err := trusted(root); err != nil {
		return err
	}
	sid, err := sidOf(account)
	if err != nil {
		return fmt.Errorf("the service's account %s is not known to this machine: %w", account, err)
	}
	if err := makeFolder(root, readable(sid)); err != nil {
		return err
	}
	for _, name := range readFolders {
		if err := makeFolder(filepath.Join(root, name), ""); err != nil {
			return err
		}
	}
	for _, name := range writeFolders {
		if err := makeFolder(filepath.Join(root, name), changeable(sid)); err != nil {
			return err
		}
	}
	return nil
}

// sidOf is the security identifier of an account, as text.
func sidOf(account string) (string, error) {
	if strings.EqualFold(account, ownAccount) {
		return serviceSID(serviceName), nil
	}
	if strings.EqualFold(account, localSystem) {
		return "S-1-5-18", nil
	}
	account = strings.TrimPrefix(account, `.\`)
	sid, _, _, err := windows.LookupSID("", account)
	if err != nil {
		return "", err
	}
	return sid.String(), nil
}

// makeFolder makes a folder with the access that sddl describes; "" is that of
// the folder it is in.
func makeFolder(path, sddl string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if sddl == "" {
		return nil
	}
	if err := allow(path, sddl); err != nil {
		return fmt.Errorf("the access to %s cannot be set: %w", path, plain(err))
	}
	return nil
}

// allow sets owner and access of path, and of what is in it.
func allow(path, sddl string) error {
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	set := windows.SECURITY_INFORMATION(windows.DACL_SECURITY_INFORMATION | windows.UNPROTECTED_DACL_SECURITY_INFORMATION)
	owner, _, _ := sd.Owner()
	if owner != nil {
		set = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, set, owner, nil, dacl, nil)
}

// letRead lets account read the files at paths that are elsewhere than in root,
// where it may anyway. What else is allowed there stays.
func letRead(paths []string, root, account string, warn Warn) {
	for _, path := range paths {
		if strings.HasPrefix(strings.ToLower(path), strings.ToLower(root)+`\`) {
			continue
		}
		if err := grantRead(path, account); err != nil && !errors.Is(err, fs.ErrNotExist) {
			warn(fmt.Sprintf("%s may not be readable for the service (%v): let its account %s read it", path, err, account))
		}
	}
}

func grantRead(path, account string) error {
	text, err := sidOf(account)
	if err != nil {
		return err
	}
	sid, err := windows.StringToSid(text)
	if err != nil {
		return err
	}
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	former, _, err := sd.DACL()
	if err != nil || former == nil { // nil lets everybody in
		return err
	}
	acl, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{{
		AccessPermissions: windows.FILE_GENERIC_READ, AccessMode: windows.GRANT_ACCESS,
		Trustee: windows.TRUSTEE{TrusteeForm: windows.TRUSTEE_IS_SID, TrusteeValue: windows.TrusteeValueFromSID(sid)},
	}}, former)
	runtime.KeepAlive(sid)
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION, nil, nil, acl, nil)
}

// trusted reports whether a folder that is there already may be used. Every user
// can make folders where ours lies, and what one has put there would be the
// service's settings.
func trusted(root string) error {
	info, err := os.Lstat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder, or leads elsewhere; remove it", root)
	}
	sd, err := windows.GetNamedSecurityInfo(root, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return plain(err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	if owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) || owner.String() == serviceSID(serviceName) {
		return nil
	}
	if me, err := windows.GetCurrentProcessToken().GetTokenUser(); err == nil && owner.Equals(me.User.Sid) {
		return nil
	}
	who := owner.String()
	if name, domain, _, err := owner.LookupAccount(""); err == nil {
		who = domain + `\` + name
	}
	return fmt.Errorf("%s was made by %s, who is no administrator: look at what is in it, and remove it", root, who)
}

// Access to the service's folders, in Windows' own notation: administrators and
// the system have all of it, the service's account what it needs, and nobody
// else anything.
func readable(account string) string {
	return "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;" + account + ")"
}

// changeable is for a folder inside a readable one.
func changeable(account string) string { return "D:AI(A;OICI;0x1301bf;;;" + account + ")" }
