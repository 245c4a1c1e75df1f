package cluster

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Script is a program that Redis runs as one step. The zero value but for its
// Source is ready; it may be used by many at the same time.
type Script struct {
	Source string // Lua, which names every key that it touches in KEYS

	once   sync.Once
	loaded *redis.Script
}

// Eval runs s with keys, which must have one tag, and args: texts, bytes,
// numbers. It is sent by its hash, and whole where Redis does not know it yet.
// What it returns is int64, string, nil or a list of these. It takes
// exchangeWithin at most; where Redis cannot
// be used it fails at once. The error is in plain words, or ctx's.
func (c *Client) Eval(ctx context.Context, s *Script, keys []string, args ...any) (any, error) {
	return do(ctx, c, s.on(keys, args))
}

func (s *Script) on(keys []string, args []any) func(context.Context, redis.UniversalClient) (any, error) {
	s.once.Do(func() { s.loaded = redis.NewScript(s.Source) })
	return func(ctx context.Context, r redis.UniversalClient) (any, error) {
		got, err := s.loaded.Run(ctx, r, keys, args...).Result()
		if err == redis.Nil { // a script that returns nothing
			return nil, nil
		}
		return got, err
	}
}
