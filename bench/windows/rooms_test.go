//go:build wine

package windows

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of rooms that are others on Windows run there too: all of a room's,
// or those that are named. Others need what wine lacks, such as the removal of
// folders as Windows does it.
func TestRoomsThatAreOthersOnWindows(t *testing.T) {
	w := here(t)
	for room, only := range map[string]string{
		"internal/service":  ".",
		"internal/textfile": "^(TestAProtectedFileIsReadWhereItWasMade|TestAFileThatIsHeldForAMomentIsWritten|TestAFileThatIsReadMayBeReplaced)$",
	} {
		program := filepath.Join(w.home, filepath.Base(room)+".exe")
		build := exec.Command("go", "test", "-c", "-o", program, "./"+room)
		build.Dir = "../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", room, err, out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tests := w.command(ctx, "wine", inWindows(program), "-test.v", "-test.run", only)
		tests.Dir = filepath.Join("../..", room)
		out, err := tests.Output()
		if err != nil || strings.Count(string(out), "--- PASS") < 3 {
			t.Errorf("%s: %v\n%s", room, err, out)
		}
	}
}
