package secret_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"

	"dynproxy/internal/needs"
	"dynproxy/internal/secret"
)

func TestAFileThatUsersCanReadIsNoticed(t *testing.T) {
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		needs.Missing(t, "access lists of Windows' own: wine has those of Unix modes only")
	}
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for sddl, exposed := range map[string]bool{
		"D:P(A;;FA;;;SY)(A;;FA;;;BA)":             false,
		"D:P(A;;FA;;;SY)(A;;FR;;;BU)":             true,
		"D:P(A;;FA;;;SY)(A;;GR;;;WD)":             true,
		"D:P(A;;FA;;;SY)(A;;GR;;;AU)":             true,
		"D:P(A;;FA;;;BA)(A;;RC;;;BU)":             false, // may read who may read it
		"D:P(A;;FA;;;BA)(A;;FR;;;S-1-5-80-1-2-3)": false,
	} {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatal(err)
		}
		dacl, _, err := sd.DACL()
		if err != nil {
			t.Fatal(err)
		}
		if err := windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil); err != nil {
			t.Fatal(err)
		}
		if got := secret.Exposed(path); (got != "") != exposed {
			t.Errorf("%s: %q", sddl, got)
		}
	}
}
