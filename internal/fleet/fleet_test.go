package fleet

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// A fault in what another proxy is answered costs that answer.
func TestAFaultOfAnAnswerToAnotherProxy(t *testing.T) {
	var log strings.Builder
	unbuilt := &Fleet{Log: zerolog.New(&log)} // in which everything is nil
	for _, kind := range []string{askCalls, askCall, askUsage, askForecasts, askAudit, askTraffic} {
		log.Reset()
		if said := unbuilt.Answer(t.Context(), kind, []byte(`{"tenants": ["contoso"]}`)); said != nil || !strings.Contains(log.String(), `"level":"error"`) {
			t.Errorf("%s: %v\n%s", kind, said, log.String())
		}
	}
}
