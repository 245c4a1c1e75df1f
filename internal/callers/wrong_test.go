package callers

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dynproxy/internal/envfile"
)

// Whatever stands in all settings of a caller at once: each fault is told with
// the others, none twice, and no value.
func TestEveryFaultOfACallerIsTold(t *testing.T) {
	for _, value := range []string{"hidden-word \x01", "-1", "1e309", "NaN", "yes", "\xff", "%zz", ",,a b", "10.0.0.0/33", "a=b", strings.Repeat("hidden-word/", 5000), `C:\x`, "https://hidden-word/"} {
		values := make(map[string]string)
		for _, name := range SettingNames() {
			values[name] = value
		}
		_, err := read("a", values)
		faults, _ := errors.AsType[envfile.Faults](err)
		for _, name := range []string{"KEY_SHA256", "PRINCIPALS", "CIDRS", "TENANTS", "METHODS", "READ_ONLY", "RATE", "BURST", "IMPERSONATION", "CALLER_OBJECT_ID"} {
			told := 0
			for _, f := range faults {
				if slices.Contains(strings.Fields(f.Variable), name) && !strings.Contains(f.Variable, " and ") {
					told++
				}
			}
			if fits := map[string]bool{"TENANTS": value == "yes" || value == "NaN" || value == "1e309", "METHODS": value == "yes" || value == "NaN"}[name]; told != 1 && !fits {
				t.Errorf("%.30q: %s is told %d times: %v", value, name, told, err)
			}
		}
		if strings.Contains(faults.Error(), "hidden-word") {
			t.Errorf("%.30q is quoted: %v", value, err)
		}
	}
}
