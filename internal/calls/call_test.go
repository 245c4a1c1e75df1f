package calls

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// full is a Call with something in every field that its line has.
func full() Call {
	return Call{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), ID: "id-1", Caller: "webform", Remote: "10.0.0.7", Host: "proxy:8080", Agent: "legacy/1.0",
		Tenant: "contoso", Method: "POST", Path: "/contoso/api/data/v9.2/$batch", Status: 502, In: 12, Out: 345, Attempts: 2,
		Total: 36 * time.Millisecond, Queue: time.Millisecond, Token: 2 * time.Millisecond, Upstream: 3 * time.Millisecond, Retry: 4 * time.Millisecond,
		Body: 5 * time.Millisecond, Answer: 6 * time.Millisecond, Own: 15 * time.Millisecond, Operations: 7, CutOff: true,
		Service: "s-1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Error: "upstream_unreachable", OrgCode: "0x80072560", Reason: "it broke off", Hint: "application_user_missing",
	}
}

// A call in JSON has the fields of its access line, under the same names, and
// can be read again.
func TestACallInJSONIsItsAccessLine(t *testing.T) {
	for _, c := range []Call{full(), {Time: time.Now().UTC(), Status: 200}} {
		var line bytes.Buffer
		log := zerolog.New(&line)
		log.Log().EmbedObject(&c).Send()
		text, err := json.Marshal(&c)
		if err != nil {
			t.Fatal(err)
		}
		var logged, written map[string]any
		if json.Unmarshal(line.Bytes(), &logged) != nil || json.Unmarshal(text, &written) != nil {
			t.Fatalf("%s\n%s", &line, text)
		}
		logged["time"] = c.Time.Format(time.RFC3339Nano)
		if !reflect.DeepEqual(logged, written) {
			t.Errorf("logged  %v\nwritten %v", logged, written)
		}
		var read Call
		if err := json.Unmarshal(text, &read); err != nil || !reflect.DeepEqual(read, c) {
			t.Errorf("%v\nread %+v\nwant %+v", err, read, c)
		}
	}
}

func TestTextsOfStrangersArePlain(t *testing.T) {
	for text, want := range map[string]string{
		"curl/8.1": "curl/8.1", "a\x1b[31m\r\nb\x00": "a?[31m??b?", "gr\u00fcn": "gr??n", "": "", strings.Repeat("x", 300): strings.Repeat("x", 20), "\x7f": "?",
	} {
		if got := Plain(text, 20); got != want {
			t.Errorf("Plain(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestAFailureIsNamedByItsCodeOrStatus(t *testing.T) {
	for want, c := range map[string]Call{
		"": {Status: 204}, "status 404": {Status: 404}, "read_only": {Status: 403, Error: "read_only"}, "status 200": {Status: 200, CutOff: true},
	} {
		if c.Failure() != want || c.Failed() != (want != "") {
			t.Errorf("%+v: %q, %v", c, c.Failure(), c.Failed())
		}
	}
}
