package tenants

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dynproxy/internal/envfile"
)

// Whatever stands in all settings of a tenant at once: each fault is told with
// the others, none twice, and no value.
func TestEveryFaultOfATenantIsTold(t *testing.T) {
	for _, value := range []string{"hidden-word \x01", "-1", "1e309", "NaN", "yes", "\xff", "%zz", ",,a b", "10.0.0.0/33", "a=b", strings.Repeat("hidden-word/", 5000), `C:\x`, "https://u:hidden-word@x", "31.03.2027"} {
		values := make(map[string]string)
		for _, name := range SettingNames() {
			values[name] = value
		}
		_, err := rules(t).Read("a", values)
		faults, _ := errors.AsType[envfile.Faults](err)
		for _, name := range []string{"ORG_URL", "LOGIN_HOST", "RATE", "BURST", "REQUESTS", "WINDOW", "EXECUTION_TIME", "CONCURRENCY", "QUEUE_WAIT", "LIMITS", "DAILY_REQUESTS", "READ_ONLY", "IMPERSONATION", "PATHS", "SECRET_EXPIRES"} {
			told := 0
			for _, f := range faults {
				if slices.Contains(strings.Fields(f.Variable), name) {
					told++
				}
			}
			if told != 1 {
				t.Errorf("%.30q: %s is told %d times: %v", value, name, told, err)
			}
		}
		if strings.Contains(faults.Error(), "hidden-word") {
			t.Errorf("%.30q is quoted: %v", value, err)
		}
	}
}
