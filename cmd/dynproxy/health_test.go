package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command that asks r, with the settings r was started with.
func (r *running) command(settings map[string]string, args ...string) (stdout, stderr string, err error) {
	r.t.Helper()
	same := maps.Clone(settings)
	same[prefix+"OPS_LISTEN"] = strings.TrimPrefix(r.ops, "http://")
	var out, errs bytes.Buffer
	err = run(r.t.Context(), args, environOf(same), &out, &errs)
	return out.String(), errs.String(), err
}

func TestAQuestionToARunningProxySaysWhyItGetsNoAnswer(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_PASSWORD"] = "let me in"
	r := start(t, settings)
	older := httptest.NewServer(http.NotFoundHandler())
	defer older.Close()
	file := filepath.Join(t.TempDir(), "password")
	write(t, file, []byte("\ufefflet me in\r\n"))
	_, port, _ := strings.Cut(strings.TrimPrefix(r.ops, "http://"), ":")
	for name, c := range map[string]struct {
		set  map[string]string
		want string // in the error; "" for none
	}{
		"all as it should be": {map[string]string{"OPS_PASSWORD": "let me in"}, ""},
		"a file":              {map[string]string{"OPS_PASSWORD_FILE": file}, ""},
		"any address":         {map[string]string{"OPS_LISTEN": "0.0.0.0:" + port, "OPS_PASSWORD": "let me in"}, ""},
		"no address":          {map[string]string{"OPS_LISTEN": ":" + port, "OPS_PASSWORD": "let me in"}, ""},
		"wrong password":      {map[string]string{"OPS_PASSWORD": "wrong"}, "refuses the operators' password"},
		"no password":         {nil, "set DYNPROXY_OPS_PASSWORD"},
		"no file":             {map[string]string{"OPS_PASSWORD_FILE": file + ".none"}, "DYNPROXY_OPS_PASSWORD_FILE"},
		"nobody there":        {map[string]string{"OPS_LISTEN": unused(t)}, "no proxy answers at http://127.0.0.1:"},
		"no address at all":   {map[string]string{"OPS_LISTEN": "8081"}, "DYNPROXY_OPS_LISTEN must be host:port"},
		"an older version":    {map[string]string{"OPS_LISTEN": strings.TrimPrefix(older.URL, "http://")}, "does not know /api/tenants: it is of an older version"},
		"the wrong protocol":  {map[string]string{"OPS_TLS_CERT_FILE": file, "OPS_PASSWORD": "let me in"}, "no proxy answers at https://"},
	} {
		t.Run(name, func(t *testing.T) {
			environ := []string{prefix + "OPS_LISTEN=" + strings.TrimPrefix(r.ops, "http://")}
			for name, value := range c.set {
				environ = append(environ, prefix+name+"="+value)
			}
			a, err := (&cli{environ: environ}).asker()
			var list struct{ Total int }
			if err == nil {
				err = a.Ask(t.Context(), http.MethodGet, "/api/tenants", nil, &list)
			}
			if c.want == "" && (err != nil || list.Total != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, %d tenants", err, list.Total)
			}
			if err != nil && strings.Contains(err.Error(), "let me in") {
				t.Error("the error holds the password")
			}
		})
	}
	_, err := (&cli{environ: []string{prefix + "OPS_LISTEN=nonsense"}}).asker()
	if exitStatus(err, new(bytes.Buffer)) != 2 {
		t.Error(err)
	}
}
