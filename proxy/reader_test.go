package proxy

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"dynproxy/internal/spool"
)

// An attempt that is given up may be reading from the caller at this moment.
// What it gets and nobody keeps is lost for the next, which must not go on
// behind it.
func TestWhatAnotherAttemptTookIsNotSkipped(t *testing.T) {
	for name, kept := range map[string]int64{"kept": 100, "not kept": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, out := io.Pipe()
				defer in.Close()
				place := &spool.Place{Each: kept}
				b := &body{length: -1, src: in, spooled: place.Spool()}
				defer b.close()
				first := b.open()
				go first.Read(make([]byte, 64)) // ends with the first Write
				synctest.Wait()
				second := b.open()
				go func() {
					io.WriteString(out, "taken by the first")
					io.WriteString(out, " and the rest")
					out.Close()
				}()
				synctest.Wait()
				if b.replayable() != (kept == 100) {
					t.Errorf("replayable: %v", b.replayable())
				}
				got, err := io.ReadAll(second)
				if kept == 100 && (err != nil || string(got) != "taken by the first and the rest") {
					t.Errorf("%q, %v", got, err)
				}
				if kept == 4 && (!errors.Is(err, errNotKept) || len(got) > 0) {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
}
