package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	beatEvery = 400 * time.Millisecond // how often this proxy shows itself and hears the news
	memberFor = 5 * time.Second        // without a beat, a member is gone
	newsFor   = time.Minute            // news are kept
	fleetFor  = 24 * time.Hour         // the count of news, behind the last beat
	mostNews  = 1000                   // of one beat; the next has the rest

	recordVersion = 1 // of what lies in Redis here
)

// Member is one of the proxies that are one.
type Member struct {
	Name    string    `json:"name"`
	Version string    `json:"version"` // of the program
	Since   time.Time `json:"since"`   // when it started
	Seen    time.Time `json:"seen"`    // when it last showed itself
	Self    bool      `json:"self"`    // whether it is the one that answers
}

// memberRecord is a Member as it lies in Redis.
type memberRecord struct {
	V       int       `json:"v"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
}

// fleet is what was heard of the other proxies.
type fleet struct {
	mu       sync.Mutex
	members  []Member
	heard    int64 // the last of the news that was heard: they are counted from the time when Redis was empty
	listens  bool  // whether there is such a one
	handlers map[string]func([]byte)
	missed   []func()
	unshown  int // beats in vain, in a row
}

// beat shows this proxy and returns the time of Redis in milliseconds, the
// members with when each was seen, and the news since the one that was heard
// last.
var beat = Script{Source: `
local seen, members, news, count = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, record, memberFor, fleetFor, heard, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if record ~= '' then
  redis.call('ZADD', seen, now, name)
  redis.call('HSET', members, name, record)
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - memberFor)) do
  redis.call('ZREM', seen, gone)
  redis.call('HDEL', members, gone)
end
redis.call('PEXPIRE', seen, 2 * memberFor)
redis.call('PEXPIRE', members, 2 * memberFor)
redis.call('SET', count, tostring(now), 'NX', 'PX', fleetFor)
redis.call('PEXPIRE', count, fleetFor)
local last = redis.call('GET', count)
local told = {}
if heard >= 0 and heard < tonumber(last) then
  told = redis.call('ZRANGEBYSCORE', news, '(' .. heard, '+inf', 'LIMIT', 0, most)
end
return {tostring(now), redis.call('ZRANGE', seen, 0, -1, 'WITHSCORES'), redis.call('HGETALL', members), last, told}
`}

// tell puts a piece of news where every beat finds it.
var tell = Script{Source: `
local news, count = KEYS[1], KEYS[2]
local t = redis.call('TIME')
redis.call('SET', count, tostring(t[1] * 1000), 'NX')
local n = redis.call('INCR', count)
redis.call('PEXPIRE', count, ARGV[2])
redis.call('ZADD', news, n, n .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', news, '-inf', n - ARGV[4])
redis.call('PEXPIRE', news, ARGV[3])
return n
`}

// depart takes a member away that ends.
var depart = Script{Source: `
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
`}

func (c *Client) fleetKey(name string) string { return c.Key("fleet", name) }

// Join tries once whether Redis can be used, for a start that needs it. It
// takes connectWithin at most.
func (c *Client) Join(ctx context.Context) {
	if c.redis != nil && !c.usable() {
		c.beat(ctx, connectWithin)
	}
}

// Run shows this proxy to the others and hears their news, until ctx ends. It
// finds out when Redis can be used again, and nobody else has to wait for that.
func (c *Client) Run(ctx context.Context) {
	if c.redis == nil {
		return
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for vain := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		patience := exchangeWithin
		if !c.usable() {
			patience = connectWithin
		}
		if c.beat(ctx, patience) == nil {
			vain = 0
		}
		if c.usable() {
			next.Reset(beatEvery - beatEvery/8 + rand.N(beatEvery/4))
		} else {
			next.Reset(probeIn(vain))
			vain++
		}
	}
}

// beat shows this proxy and takes in what Redis says of the others. A proxy
// that cannot is alone after a few, however other exchanges fare.
func (c *Client) beat(ctx context.Context, patience time.Duration) error {
	answer, err := c.show(ctx, patience)
	if err != nil {
		if c.unshown++; c.unshown >= enough && ctx.Err() == nil {
			c.useless(err.Error())
		}
		return err
	}
	c.unshown = 0
	c.fleet.mu.Lock()
	c.members = c.membersOf(answer)
	c.fleet.mu.Unlock()
	c.back()
	c.hear(answer)
	return nil
}

func (c *Client) show(ctx context.Context, patience time.Duration) (*beatAnswer, error) {
	var record []byte // none of one that only observes
	if !c.observer {
		record, _ = json.Marshal(memberRecord{recordVersion, c.version, c.began}) // which cannot fail
	}
	c.fleet.mu.Lock()
	heard := c.fleet.heard
	if !c.listens {
		heard = -1
	}
	c.fleet.mu.Unlock()
	got, err := exchange(ctx, c, patience, beat.on(
		[]string{c.fleetKey("seen"), c.fleetKey("members"), c.fleetKey("news"), c.fleetKey("count")},
		[]any{c.name, record, memberFor.Milliseconds(), fleetFor.Milliseconds(), heard, mostNews}))
	if err != nil {
		return nil, err
	}
	return readBeat(got)
}

// beatAnswer is what the script beat returns.
type beatAnswer struct {
	now     int64            // by Redis's clock, milliseconds
	seen    map[string]int64 // likewise
	records map[string]string
	last    int64
	news    []string
}

var errStrange = errors.New("what lies in Redis is not what this version puts there")

func readBeat(got any) (*beatAnswer, error) {
	list, _ := got.([]any)
	if len(list) != 5 {
		return nil, &exchangeError{foreign}
	}
	a := &beatAnswer{seen: make(map[string]int64), records: make(map[string]string)}
	var errs [2]error
	a.now, errs[0] = strconv.ParseInt(text(list[0]), 10, 64)
	a.last, errs[1] = strconv.ParseInt(text(list[3]), 10, 64)
	if errors.Join(errs[:]...) != nil {
		return nil, &exchangeError{foreign}
	}
	for name, at := range pairs(list[1]) {
		a.seen[name], _ = strconv.ParseInt(at, 10, 64)
	}
	a.records = pairs(list[2])
	news, _ := list[4].([]any)
	for _, one := range news {
		a.news = append(a.news, text(one))
	}
	return a, nil
}

func text(value any) string { s, _ := value.(string); return s }

func pairs(value any) map[string]string {
	list, _ := value.([]any)
	all := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		all[text(list[i])] = text(list[i+1])
	}
	return all
}

// membersOf are the members by an answer, with times by this machine's clock:
// how long ago is known, when is not.
func (c *Client) membersOf(a *beatAnswer) []Member {
	var all []Member
	now := time.Now()
	for name, at := range a.seen {
		var r memberRecord
		json.Unmarshal([]byte(a.records[name]), &r) // of a later version: what can be read of it
		m := Member{Name: name, Version: r.Version, Since: r.Since, Seen: now.Add(-time.Duration(a.now-at) * time.Millisecond), Self: name == c.name}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Members are the proxies that are one, this one among them. While Redis cannot
// be used they are those that were there last.
func (c *Client) Members() []Member {
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	if len(c.members) == 0 {
		return []Member{{Name: c.name, Version: c.version, Since: c.began, Seen: time.Now(), Self: true}}
	}
	return slices.Clone(c.members)
}

// Size is how many proxies there are, as far as is known: at least 1. Who has
// met nobody yet goes by what is remembered.
func (c *Client) Size() int {
	c.fleet.mu.Lock()
	n := len(c.members)
	c.fleet.mu.Unlock()
	if n > 0 {
		return n
	}
	return max(1, c.remembered.size())
}

// leave takes this proxy from the members, so that the others need not wait.
func (c *Client) leave() {
	if c.usable() && !c.observer {
		do(context.Background(), c, depart.on([]string{c.fleetKey("seen"), c.fleetKey("members")}, []any{c.name}))
	}
}

// Tell says something to every other proxy: payload to what they gave Hear for
// kind, within a second. An error means that it did not go out.
func (c *Client) Tell(ctx context.Context, kind string, payload []byte) error {
	_, err := do(ctx, c, tell.on([]string{c.fleetKey("news"), c.fleetKey("count")},
		[]any{c.name + " " + kind + " " + string(payload), fleetFor.Milliseconds(), newsFor.Milliseconds(), 10 * mostNews}))
	return err
}

// Hear has f called with each piece of news of a kind that another proxy tells.
// It is set before Run, and f returns soon.
func (c *Client) Hear(kind string, f func(payload []byte)) { c.handlers[kind] = f }

// Missed has f called when news may have been missed: Redis was away for long,
// or has been emptied. It is set before Run.
func (c *Client) Missed(f func()) { c.missed = append(c.missed, f) }

// hear passes news on.
func (c *Client) hear(a *beatAnswer) {
	c.fleet.mu.Lock()
	before, first := c.heard, !c.listens
	c.listens = true
	c.heard = a.last
	gap := !first && a.last < before // emptied
	at := before
	for _, one := range a.news {
		n, _, _ := strings.Cut(one, " ")
		number, _ := strconv.ParseInt(n, 10, 64)
		gap = gap || number != at+1
		at = number
	}
	if len(a.news) == mostNews {
		c.heard = at
	} else {
		gap = gap || !first && at < a.last
	}
	c.fleet.mu.Unlock()
	if gap {
		for _, f := range c.missed {
			f()
		}
	}
	for _, one := range a.news {
		parts := strings.SplitN(one, " ", 4)
		if len(parts) < 4 || parts[1] == c.name {
			continue
		}
		if f := c.handlers[parts[2]]; f != nil {
			f([]byte(parts[3]))
		}
	}
}
