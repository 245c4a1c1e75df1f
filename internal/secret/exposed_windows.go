package secret

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// HowToHide is what is to be done about a file that others can read.
const HowToHide = `move it to the service's own folder (%ProgramData%\dynproxy\secrets), or take the others' rights away (icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F "NT SERVICE\dynproxy:R")`

// crowds are groups in which users are that have nothing to do with the proxy.
var crowds = []windows.WELL_KNOWN_SID_TYPE{
	windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid, windows.WinBuiltinGuestsSid,
	windows.WinInteractiveSid, windows.WinNetworkSid, windows.WinAnonymousSid, windows.WinLocalSid, windows.WinAccountDomainUsersSid,
}

// Exposed says which group of users can read the file at path, "" for none and
// for a file that cannot be looked at.
func Exposed(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return ""
	}
	acl, _, err := sd.DACL()
	if err != nil {
		return ""
	}
	if acl == nil {
		return "everybody (it has no access list)"
	}
	for i := range uint32(acl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if windows.GetAce(acl, i, &ace) != nil || ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 {
			continue
		}
		const readData = 0x1 // FILE_READ_DATA
		if ace.Mask&(readData|windows.GENERIC_READ|windows.GENERIC_ALL) == 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		for _, crowd := range crowds {
			if sid.IsWellKnown(crowd) {
				return named(sid)
			}
		}
	}
	return ""
}

func named(sid *windows.SID) string {
	name, domain, _, err := sid.LookupAccount("")
	switch {
	case err != nil:
		return sid.String()
	case domain == "":
		return name
	}
	return domain + `\` + name
}
