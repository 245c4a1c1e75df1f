package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
)

// A proxy is killed. The others take over the places and requests that it held
// when its lease is over; only the calls that it was serving are torn.
func TestAProxyIsKilledUnderLoad(t *testing.T) {
	const slow = 100 * time.Millisecond // so that it is places that are scarce
	s := scale{limits: emulator.Limits{Requests: 300, Window: 3 * time.Second, ExecutionTime: 24 * time.Second, Concurrency: 6}}
	d, _ := withRedis(t, s, 3)
	d.org.Heal()
	if err := d.org.Inject(emulator.Fault{Kind: emulator.Slow, Delay: slow}); err != nil {
		t.Fatal(err)
	}
	d.begin()
	d.stop()
	pace := d.load.pacer()
	time.Sleep(s.limits.Window)
	before := pace()
	d.load.mortal.Store(2)
	victim, err := os.FindProcess(d.proxies[2].PID)
	if err == nil {
		err = victim.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.proxies = d.proxies[:2]
	d.stop = d.probe(d.proxies)
	pace = d.load.pacer()
	t.Logf("gone for the others after %v", d.until("the end of its lease", func() bool {
		return d.each(func(d *drill, i int) bool { return d.gauge(i, "dynproxy_cluster_members", "") == 2 })
	}))
	meanwhile := pace()
	pace = d.load.pacer()
	time.Sleep(3 * s.limits.Window)
	t.Logf("calls a second: %.0f before, %.0f until then, %.0f after", before, meanwhile, pace())
	d.end(0, func(n int) time.Duration { return time.Duration(n) * slow / time.Duration(s.limits.Concurrency) })
}

// Redis is full for a while, and evicts nothing. Who comes back first keeps to
// its share until the others have told what they have spent alone.
func TestRedisIsFullUnderLoad(t *testing.T) {
	d, redis := withRedis(t, scales["small"], 3, "--maxmemory-policy", "noeviction")
	d.begin()
	redis.CLI("CONFIG", "SET", "maxmemory", "1")
	d.until("being alone, and saying why", func() bool { return d.each(isAlone) && d.each(says("Redis is full")) })
	time.Sleep(2 * d.scale.limits.Window)
	redis.CLI("CONFIG", "SET", "maxmemory", "0")
	d.oneAgain(d.share())
}

// The primary is killed, and the sentinels name its replica.
func TestASentinelFailsOverUnderLoad(t *testing.T) {
	needs.Tool(t, "Redis")
	needs.Long(t)
	primary := redistest.Start(t)
	replica := redistest.Replica(t, primary)
	redis := redistest.Sentinel(t, primary, "main").URL() + "?master_name=main"
	d := newDrill(t, scales["small"], redis, redis, redis)
	d.begin()
	missed := d.failures()
	primary.Kill()
	d.until("exchanges in vain", func() bool { return d.each(func(d *drill, i int) bool { return d.failures()[i] > missed[i] }) })
	d.until("another primary", replica.IsPrimary)
	d.oneAgain(d.share())
}

// One proxy's way to Redis passes nothing for longer than a lease. It takes its
// share beside the others, who then do not see it.
func TestAProxyIsCutOffUnderLoad(t *testing.T) {
	d, redis := withRedis(t, scales["small"], 2)
	way := newRelay(t, redis.Addr())
	d.join("redis://" + way.addr())
	d.begin()
	way.cut()
	d.until("being alone", func() bool { return isAlone(d, 2) })
	time.Sleep(8 * time.Second)
	way.heal()
	d.oneAgain(d.share())
}

// Another version of the program has written the budget's record. Everybody
// keeps to his share of it and says so, until that record has ended.
func TestAnotherVersionKeepsTheBudgetUnderLoad(t *testing.T) {
	d, redis := withRedis(t, scales["small"], 3)
	d.begin()
	key := fmt.Sprintf("dynproxy:{%s/%s}:budget", strings.TrimPrefix(d.org.URL(), "https://"), app)
	if redis.CLI("EXISTS", key) != "1" {
		t.Fatalf("%s does not exist:\n%s", key, redis.CLI("KEYS", "*budget"))
	}
	redis.CLI("EVAL", "return redis.call('SET', KEYS[1], cmsgpack.pack({2, 'of another version'}))", "1", key)
	record := redis.CLI("GET", key)
	d.until("keeping to shares", func() bool { return d.each(isApart) })
	time.Sleep(2 * d.scale.limits.Window)
	if got := redis.CLI("GET", key); got != record {
		t.Errorf("the record of the other version became %q", got)
	}
	redis.CLI("PEXPIRE", key, "1")
	t.Logf("one budget again after %v", d.until("one budget", func() bool { return !isApart(d, 0) && !isApart(d, 1) && !isApart(d, 2) }))
	time.Sleep(d.scale.limits.Window)
	d.end(d.share(), nil) // who is back first may use what the others still spend of their shares
}

// While Redis is gone a proxy is restarted. It knows how many there were, and
// takes its share beside the others, whose calls it does not take for those of
// strangers, whatever the organization says of what remains.
func TestAProxyStartsWithoutRedisUnderLoad(t *testing.T) {
	d, redis := withRedis(t, scales["small"], 0)
	dir := t.TempDir()
	kept := "STATE_DIR=" + dir
	d.join(redis.URL(), kept)
	d.join(redis.URL())
	d.join(redis.URL())
	d.begin()
	d.until("what is remembered", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "members.json"))
		return strings.Contains(string(text), `"members":3`)
	})
	redis.Kill()
	d.until("being alone", func() bool { return d.each(isAlone) })
	d.stop()
	share := d.share()
	d.leave()
	d.join(redis.URL(), kept)
	d.stop = d.probe(d.proxies)
	before, newcomer := d.overshoot(), newLoad(d.ways[3:])
	time.Sleep(3 * d.scale.limits.Window)
	newcomer.last.Store(newcomer.sent.Load())
	newcomer.all.Wait()
	served, refused := int(newcomer.served.Load()), d.overshoot()-before
	t.Logf("the new one has served %d in three windows, meanwhile the organization has refused %d", served, refused)
	if newcomer.failed.Load() != 0 || served < 2*share || refused > share {
		t.Errorf("the new one: %d served, %d failed; %d refused by the organization, want at most %d", served, newcomer.failed.Load(), refused, share)
	}
	redis.Again()
	d.oneAgain(refused + 2*share)
}

func isAlone(d *drill, i int) bool  { return d.gauge(i, "dynproxy_redis_state", `"alone"`) == 1 }
func isShared(d *drill, i int) bool { return d.gauge(i, "dynproxy_redis_state", `"shared"`) == 1 }

// isApart reports whether a proxy says that it keeps to its share of the budget.
func isApart(d *drill, i int) bool { return d.gauge(i, "dynproxy_limit_apart_seconds", "") > 0 }

// says is whether a proxy tells operators those words.
func says(words string) func(*drill, int) bool {
	return func(d *drill, i int) bool { return strings.Contains(d.ask(i, "/api/cluster"), words) }
}

// share is a proxy's part of a window.
func (d *drill) share() int { return d.scale.limits.Requests / len(d.ways) }
