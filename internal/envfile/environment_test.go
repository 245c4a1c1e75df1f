package envfile

import (
	"os"
	"testing"
)

func TestEnvironmentWinsOverFiles(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/a", []byte("DYNPROXY_LISTEN=a\nDYNPROXY_X=a\nDYNPROXY_Y=a"), 0o600)
	os.WriteFile(dir+"/b", []byte("DYNPROXY_LISTEN=b\nDYNPROXY_X=b"), 0o600)
	got, err := Environment([]string{"DYNPROXY_LISTEN=real"}, []string{dir + "/a", dir + "/b"})
	if err != nil || got["DYNPROXY_LISTEN"] != "real" || got["DYNPROXY_X"] != "b" || got["DYNPROXY_Y"] != "a" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Environment(nil, []string{dir + "/none"}); err == nil {
		t.Error("a missing file was no error")
	}
}
