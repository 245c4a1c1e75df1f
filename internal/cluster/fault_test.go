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
