package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/secret"
)

// A fault in an exchange costs that exchange: neither the process, nor what is
// thought of Redis.
func TestAFaultInAnExchangeCostsThatExchange(t *testing.T) {
	var log strings.Builder
	c, err := Open(Options{URL: secret.New(redistest.Start(t).URL()), Prefix: "test", Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	c.Join(t.Context())
	for range 3 {
		_, err := do(t.Context(), c, func(context.Context, redis.UniversalClient) (int, error) { panic("canary") })
		if err == nil || errors.Is(err, errAlone) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
	if text := log.String(); strings.Contains(text, "canary") || strings.Count(text, `"level":"error"`) != 3 {
		t.Error(text)
	}
	if n, err := do(t.Context(), c, func(ctx context.Context, r redis.UniversalClient) (int64, error) { return r.DBSize(ctx).Result() }); err != nil {
		t.Errorf("Redis is given up: %d, %v", n, err)
	}
}

// What a command of a script was answered Redis 6 tells inside another error,
// and Redis 7 as it is. It means the same.
func TestWhatAScriptWasAnswered(t *testing.T) {
	for answer, down := range map[string]bool{
		"READONLY You can't write against a read only replica.":             true,
		"OOM command not allowed when used memory > 'maxmemory'.":           true,
		"NOREPLICAS Not enough good replicas to write.":                     true,
		"WRONGTYPE Operation against a key holding the wrong kind of value": false,
	} {
		words, means := ofAnswer(answer + " script: 6b818461879b7ea953a81ab9ad7aaeca1590b7ab, on @user_script:1.")
		if means != down || words == "Redis has answered with "+answer[:3] {
			t.Errorf("%s: %s", answer, words)
		}
		older, meant := ofAnswer("ERR Error running script (call to f_1028a5dba704e1d8a01fd96efeba25bb78f62df2): @user_script:4: @user_script: 4: -" + answer)
		if older != words || meant != means {
			t.Errorf("%s: in a script of Redis 6: %s", answer, older)
		}
	}
	for _, answer := range []string{
		"ERR user_script:23: attempt to compare nil with number script: 6b818461879b7ea953a81ab9ad7aaeca1590b7ab, on @user_script:23.",
		"ERR Error running script (call to f_1028a5dba704e1d8a01fd96efeba25bb78f62df2): @user_script:23: user_script:23: attempt to compare nil with number",
	} {
		if words, down := ofAnswer(answer); words != foreign || down {
			t.Errorf("%s: %s", answer, words)
		}
	}
}
