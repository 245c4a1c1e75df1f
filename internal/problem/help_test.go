package problem

import "testing"

func TestHelpLeadsToTheEntry(t *testing.T) {
	if got := ConsentRequired.Help("http://localhost:8081"); got != "http://localhost:8081/help/consent_required" {
		t.Error(got)
	}
	defer func() { helpBase = "" }()
	helpBase = "https://example.com/errors.md"
	if got := ConsentRequired.Help("http://localhost:8081"); got != "https://example.com/errors.md#consent_required" {
		t.Error(got)
	}
}
