package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/secret"
)

func TestASecretIsReadWithoutWhatToolsLeaveAroundIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for name, content := range map[string]string{
		"plain":                 "s3~cr et",
		"a line break":          "s3~cr et\n",
		"CRLF and a mark":       "\ufeffs3~cr et\r\n",
		"lone CR":               "s3~cr et\r",
		"blank lines":           "\n\n s3~cr et \t\n\n",
		"NUL padding":           "s3~cr et\n\x00\x00",
		"UTF-16":                "\xff\xfes\x003\x00~\x00c\x00r\x00 \x00e\x00t\x00\r\x00\n\x00",
		"a hard space":          "\u00a0s3~cr et\u00a0",
		"a space without width": "\u200bs3~cr et\u200b\n",
	} {
		os.WriteFile(path, []byte(content), 0o600)
		if got, err := secret.ReadFile(path); err != nil || got.Reveal() != "s3~cr et" {
			t.Errorf("%s: %q, %v", name, got.Reveal(), err)
		}
	}
	for name, c := range map[string]struct{ content, want string }{
		"nothing":   {" \r\n", "empty"},
		"two lines": {"s3cret\ns3cret2", "more than the one line"},
		"binary":    {"s3cret\x00s3cret", "not text"},
	} {
		os.WriteFile(path, []byte(c.content), 0o600)
		_, err := secret.ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotBeAnAppSecretIsToldInWords(t *testing.T) {
	for value, want := range map[string]string{
		"change-me": "example", "<its secret>": "example", "your-client-secret": "example", "xxxxxxxx": "example",
		"7f6e2a10-2b7c-4d1e-9a4f-0c1b2d3e4f50": "secret's id", "{7F6E2A10-2B7C-4D1E-9A4F-0C1B2D3E4F50}": "secret's id",
		"CLIENT_SECRET=Abc8Q~k3n": "line of settings", "export DYNPROXY_CLIENT_SECRET_NEXT = Abc8Q~k3n": "line of settings", `"Abc8Q~k3n"`: "quotes", "'Abc8Q~k3n'": "quotes",
		"Abc8Q~k3n.example-value_~1": "", "secret": "", "": "", `"half`: "",
	} {
		err := secret.CheckAppSecret(secret.New(value))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
