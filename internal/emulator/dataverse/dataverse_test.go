package dataverse_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dynproxy/internal/emulator/dataverse"
)

const (
	organizationID = "11111111-2222-4333-8444-555555555555"
	tenantID       = "99999999-8888-4777-8666-555555555555"
	applicationID  = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	orgHost        = "contoso.crm.dynamics.com"
	orgRoot        = "https://" + orgHost + "/api/data/v9.2/"
)

// site is one organization behind a real HTTP server. Requests carry the
// organization's host name, as those of a proxy would.
type site struct {
	t      testing.TB
	org    *dataverse.Organization
	server *httptest.Server
}

func newSite(t testing.TB) *site {
	t.Helper()
	org := dataverse.New("contoso", organizationID, tenantID)
	who := dataverse.Caller{UserID: org.AddApplicationUser(applicationID), ApplicationID: applicationID}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { org.Serve(w, r, who) }))
	t.Cleanup(server.Close)
	return &site{t, org, server}
}

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends a request to a path of the organization. headers are "Name: value".
func (s *site) send(method, target, body string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, s.server.URL+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	target = strings.TrimPrefix(target, "https://"+orgHost)
	path, query, _ := strings.Cut(target, "?")
	req.URL.Opaque, req.URL.RawQuery, req.Host = path, query, orgHost
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := s.server.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(got)}
}

// api sends a Web API request to a path below the service root and checks the
// status.
func (s *site) api(status int, method, path, body string, headers ...string) reply {
	s.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = "/api/data/v9.2/" + path
	}
	got := s.send(method, path, body, headers...)
	if got.status != status {
		s.t.Fatalf("%s %s: status %d, want %d\n%s", method, path, got.status, status, got.body)
	}
	return got
}

// get is a GET that must succeed, its answer decoded.
func (s *site) get(path string, headers ...string) map[string]any {
	s.t.Helper()
	return s.api(200, "GET", path, "", headers...).json(s.t)
}

func (r reply) json(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(r.body), &out); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return out
}

// rows gives the records of a list.
func rows(t testing.TB, list map[string]any) []map[string]any {
	t.Helper()
	value, ok := list["value"].([]any)
	if !ok {
		t.Fatalf("no list: %v", list)
	}
	var out []map[string]any
	for _, v := range value {
		out = append(out, v.(map[string]any))
	}
	return out
}

// errorCode gives error.code of a failed answer.
func (r reply) errorCode(t testing.TB) string {
	t.Helper()
	fault, _ := r.json(t)["error"].(map[string]any)
	code, _ := fault["code"].(string)
	return code
}

// contains fails the test where the answer's body lacks any of the texts.
func (r reply) contains(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.body, text) {
			t.Errorf("no %s in\n%s", text, r.body)
		}
	}
}

// make creates a record and returns its id.
func (s *site) make(set, body string) string {
	s.t.Helper()
	link := s.api(204, "POST", set, body).header["Odata-Entityid"][0]
	return strings.TrimSuffix(link[strings.LastIndex(link, "(")+1:], ")")
}
