package envfile

import "testing"

func TestNamesOfDevicesAreToldOf(t *testing.T) {
	for _, name := range []string{"con", "nul", "com1", "lpt9", "aux"} {
		if CheckName(name) == nil {
			// Windows 11 takes some of them for files; then they must work as such.
			dir := t.TempDir()
			if err := Create(dir, name, []string{"A"}, map[string]string{"A": "1"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := CheckName("contoso"); err != nil {
		t.Error(err)
	}
}
