package cluster

import (
	"context"
	"time"
)

// turnFor is how long one proxy may fetch something for all, should it end
// meanwhile without a word.
const turnFor = 3 * time.Second

// claim returns what lies there, unless it is what the proxy does not want, and
// its life; and else whether it is this proxy's turn to fetch it for all.
var claim = Script{Source: `
local value = redis.call('GET', KEYS[1])
if value and redis.sha1hex(value) ~= ARGV[2] then return {value, 0, redis.call('PTTL', KEYS[1])} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[3]) then return {'', 1, 0} end
return {'', 0, 0}
`}

// fill puts a value there and ends the turn.
var fill = Script{Source: `
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
`}

// Shelf holds values that one proxy fetches for all.
type Shelf struct {
	client *Client
	kind   string
}

// Shelf returns that of a kind, or nil without a Redis.
func (c *Client) Shelf(kind string) *Shelf {
	if !c.On() {
		return nil
	}
	return &Shelf{c, kind}
}

func (s *Shelf) keys(name string) []string {
	tag := s.kind + ":" + name
	return []string{s.client.Key(tag, "value"), s.client.Key(tag, "turn")}
}

// Claim returns the value called name and what is left of its life, "" without
// one or where its SHA-1 in hex is unwanted, and then whether it is this proxy's
// turn to Fill it.
func (s *Shelf) Claim(ctx context.Context, name, unwanted string) (value string, left time.Duration, turn bool, err error) {
	got, err := do(ctx, s.client, claim.on(s.keys(name), []any{s.client.name, unwanted, turnFor.Milliseconds()}))
	if err != nil {
		return "", 0, false, err
	}
	list, _ := got.([]any)
	a := answer{fields: list}
	value, turn = a.text(), a.count() == 1
	left = time.Duration(a.count()) * time.Millisecond
	if a.bad {
		return "", 0, false, errStrange
	}
	return value, left, turn, nil
}

// Fill puts a value there for a life, and ends this proxy's turn. An empty one
// leaves what is there.
func (s *Shelf) Fill(ctx context.Context, name string, value []byte, life time.Duration) error {
	_, err := do(ctx, s.client, fill.on(s.keys(name), []any{s.client.name, value, max(life.Milliseconds(), 1)}))
	return err
}
