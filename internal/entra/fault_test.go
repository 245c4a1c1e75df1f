package entra_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"dynproxy/internal/entra"
)

// A fault of ours while an organization is asked costs one answer.
func TestAFaultWhileAnOrganizationIsAsked(t *testing.T) {
	log := &safeBuffer{}
	f := &entra.AuthorityResolver{
		Transport:    server(func(*http.Request) (int, http.Header, string) { panic("a-canary") }),
		LoginAllowed: microsoft, Log: zerolog.New(log),
	}
	_, err := f.Find(t.Context(), org)
	if e, ok := errors.AsType[*entra.Error](err); !ok || e.Class != entra.Transient || !strings.Contains(e.Reason, "the log says where") {
		t.Errorf("%v", err)
	}
	if text := log.String(); !strings.Contains(text, `"where":"challenge"`) || !strings.Contains(text, `"level":"error"`) || strings.Contains(text, "a-canary") {
		t.Errorf("the log: %s", text)
	}
}
