package panics

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestAPanicIsToldAndAnswered(t *testing.T) {
	const canary = "a-secret-canary"
	var none map[string]int
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int // 0 for an answer that breaks off
		told    string
	}{
		"of the runtime":      {func(http.ResponseWriter, *http.Request) { none["x"] = 1 }, 500, "nil map"},
		"with a value":        {func(http.ResponseWriter, *http.Request) { panic(canary) }, 500, `"panic":"string"`},
		"in an answer":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(canary) }, 0, `"panic":"string"`},
		"meant to break off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, ""},
		"none at all":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		"after an early hint": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); panic(canary) }, 500, `"panic":"string"`},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			failed := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
			server := httptest.NewServer(Handler(zerolog.New(&log), "here", c.handler, failed))
			resp, err := http.Get(server.URL)
			status := 0
			if err == nil {
				if _, err = io.ReadAll(resp.Body); err == nil {
					status = resp.StatusCode
				}
				resp.Body.Close()
			}
			server.Close()
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			text := log.String()
			if strings.Contains(text, canary) || !strings.Contains(text, c.told) || (c.told == "") != (text == "") {
				t.Errorf("the log: %.300s", text)
			}
			if c.told != "" && (!strings.Contains(text, `"level":"error"`) || !strings.Contains(text, "panics_test.go")) {
				t.Errorf("no stack at the level of errors: %.300s", text)
			}
		})
	}
}

// What ends with its context goes on after a panic, and a panic ends in no
// goroutine the process.
func TestKeepAndRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		runs := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			Keep(ctx, zerolog.New(&log), "watch", func() {
				if runs++; runs < 3 {
					panic("a-secret-canary")
				}
				<-ctx.Done()
			})
		}()
		time.Sleep(10 * time.Second)
		stop()
		<-done
		if text := log.String(); runs != 3 || strings.Count(text, `"where":"watch"`) != 2 || strings.Contains(text, "canary") {
			t.Errorf("%d runs: %s", runs, text)
		}
		Keep(context.Background(), zerolog.New(&log), "ends", func() { runs++ })
		if runs != 4 {
			t.Errorf("what ends is run again: %d", runs)
		}
	})
}
