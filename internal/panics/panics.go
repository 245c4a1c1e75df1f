// Package panics tells of faults of the program itself, so that each is seen
// and none takes more with it than what it happened in.
package panics

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// Log writes what was recovered at the level of errors, with the stack. Of a
// value that is no error of the runtime only the type is told: it may quote
// what nobody must see.
func Log(log zerolog.Logger, where string, recovered any) {
	what := fmt.Sprintf("%T", recovered)
	if e, ok := recovered.(runtime.Error); ok {
		what = e.Error()
	}
	log.Error().Str("where", where).Str("panic", what).Bytes("stack", debug.Stack()).
		Msg(ourFault)
}

const ourFault = "a fault of the proxy itself; please report it with this line"

// Recover, deferred, tells of a panic and ends it: for goroutines that nothing
// else protects, and for code of ours that goroutines of others call. then, if
// not nil, runs after a panic.
func Recover(log zerolog.Logger, where string, then func()) {
	recovered := recover()
	if recovered == nil {
		return
	}
	Log(log, where, recovered)
	if then != nil {
		then()
	}
}

// Keep runs f, which ends with ctx, and runs it again when it panics.
func Keep(ctx context.Context, log zerolog.Logger, where string, f func()) {
	for {
		again := false
		func() {
			defer Recover(log, where, func() { again = true })
			f()
		}()
		if !again {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepPause):
		}
	}
}

const keepPause = time.Second

// Handler answers with failed where next panics before it has answered. An
// answer that was begun is broken off. http.ErrAbortHandler passes.
func Handler(log zerolog.Logger, where string, next, failed http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := &begun{ResponseWriter: w}
		defer func() {
			recovered := recover()
			if recovered == nil {
				return
			}
			if recovered == http.ErrAbortHandler {
				panic(recovered)
			}
			Log(log, where, recovered)
			if begun.header {
				panic(http.ErrAbortHandler)
			}
			failed.ServeHTTP(w, r)
		}()
		next.ServeHTTP(begun, r)
	})
}

// begun is a ResponseWriter that knows whether the answer has begun.
type begun struct {
	http.ResponseWriter
	header bool
}

func (b *begun) WriteHeader(status int) {
	b.header = b.header || status >= 200
	b.ResponseWriter.WriteHeader(status)
}

func (b *begun) Write(p []byte) (int, error) {
	b.header = true
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }
