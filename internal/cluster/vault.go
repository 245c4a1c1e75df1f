package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"dynproxy/internal/sealed"
)

// keptFor is the life of what must outlive all proxies for a while: each that
// runs renews it.
const keptFor = 400 * 24 * time.Hour

// errNoSecret is for what cannot be shared, since proxies have no secret in
// common that it could be sealed with.
var errNoSecret = errors.New("proxies without a secret of their own (a managed identity, a federated token) share nothing that must be sealed; set DYNPROXY_LINK_KEY_FILE to the same file for all")

var errOtherSecret = errors.New("what lies in Redis was sealed with another secret than this proxy has; set the former one as DYNPROXY_CLIENT_SECRET_NEXT until all proxies have the new one, or another DYNPROXY_REDIS_PREFIX")

// Vault seals what proxies share, with a secret that they have made for it. That
// lies in Redis too, sealed with the credential of each: so it outlives a
// change of the credential, as long as there is a proxy that knows both.
type Vault struct {
	client *Client
	keys   func() []sealed.Key // of the credentials in force, none without any

	mu     sync.Mutex // guards what follows
	secret []byte
}

// NewVault returns the vault of proxies whose credentials have keys.
func (c *Client) NewVault(keys func() []sealed.Key) *Vault { return &Vault{client: c, keys: keys} }

// unlock returns the sealed secrets of the vault. Where there are none, or add is set, it puts
// one more there.
var unlock = Script{Source: `
local add = ARGV[2] == '1'
if redis.call('LLEN', KEYS[1]) == 0 or add then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  redis.call('LTRIM', KEYS[1], -8, -1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('LRANGE', KEYS[1], 0, -1)
`}

const vaultPlace = "vault"

// Open gets the vault's secret, or makes it. It needs Redis the first time, and
// again after a change of the credential.
func (v *Vault) Open(ctx context.Context) error {
	keys := v.keys()
	if len(keys) == 0 {
		return errNoSecret
	}
	v.mu.Lock()
	mine := v.secret
	v.mu.Unlock()
	if mine == nil {
		mine = sealed.Random()
	}
	wraps, err := v.exchange(ctx, keys[0].Seal(mine, vaultPlace), false)
	if err != nil {
		return err
	}
	found, unknown := openWraps(wraps, keys)
	if found == nil && v.known() {
		found = mine // Redis holds another's, and this proxy what was there before
		unknown = keys
	}
	if found == nil {
		return errOtherSecret
	}
	for _, k := range unknown {
		if _, err := v.exchange(ctx, k.Seal(found, vaultPlace), true); err != nil {
			return err
		}
	}
	v.mu.Lock()
	v.secret = found
	v.mu.Unlock()
	return nil
}

func (v *Vault) known() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.secret != nil
}

func (v *Vault) exchange(ctx context.Context, wrap []byte, add bool) ([]string, error) {
	flag := "0"
	if add {
		flag = "1"
	}
	got, err := do(ctx, v.client, unlock.on([]string{v.client.Key("vault", "secret")}, []any{wrap, flag, keptFor.Milliseconds()}))
	if err != nil {
		return nil, err
	}
	list, _ := got.([]any)
	var all []string
	for _, one := range list {
		all = append(all, text(one))
	}
	return all, nil
}

// openWraps returns the secret, and the keys that it is not sealed with yet. The
// latest that can be opened counts.
func openWraps(wraps []string, keys []sealed.Key) (found []byte, unknown []sealed.Key) {
	for i := len(wraps) - 1; i >= 0 && found == nil; i-- {
		found, _ = sealed.Open([]byte(wraps[i]), vaultPlace, keys...)
	}
	for _, k := range keys {
		opens := false
		for _, w := range wraps {
			secret, err := sealed.Open([]byte(w), vaultPlace, k)
			opens = opens || err == nil && string(secret) == string(found)
		}
		if !opens {
			unknown = append(unknown, k)
		}
	}
	return found, unknown
}

// key is that of a purpose; it reports false while the vault is not open.
func (v *Vault) key(purpose string) (sealed.Key, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secret == nil {
		return sealed.Key{}, false
	}
	return sealed.NewKey(v.secret, purpose), true
}

// Agree returns the value that all proxies have for name: that in Redis, or
// mine where there is none, which then is everybody's.
func (v *Vault) Agree(ctx context.Context, name string, mine []byte) ([]byte, error) {
	if err := v.Open(ctx); err != nil {
		return nil, err
	}
	key, _ := v.key(name)
	place := v.client.Key("vault", name)
	got, err := do(ctx, v.client, func(ctx context.Context, r redis.UniversalClient) (string, error) {
		if err := r.SetNX(ctx, place, key.Seal(mine, name), keptFor).Err(); err != nil {
			return "", err
		}
		r.Expire(ctx, place, keptFor)
		return r.Get(ctx, place).Result()
	})
	if err != nil {
		return nil, err
	}
	all, err := sealed.Open([]byte(got), name, key)
	if err != nil { // of a secret that is nobody's any more
		_, err = do(ctx, v.client, func(ctx context.Context, r redis.UniversalClient) (string, error) {
			return "", r.Set(ctx, place, key.Seal(mine, name), keptFor).Err()
		})
		return mine, err
	}
	return all, nil
}

// Once reports whether no proxy has asked for name within life before. The
// error means that nobody knows.
func (c *Client) Once(ctx context.Context, kind, name string, life time.Duration) (bool, error) {
	return do(ctx, c, func(ctx context.Context, r redis.UniversalClient) (bool, error) {
		return r.SetNX(ctx, c.Key(kind+":"+name, "used"), "1", life).Result()
	})
}

// TellSealed is Tell for what is nobody else's business.
func (v *Vault) TellSealed(ctx context.Context, kind string, value any) error {
	key, open := v.key("news")
	if !open {
		return errNoSecret
	}
	plain, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return v.client.Tell(ctx, kind, key.Seal(plain, kind))
}

// Unsealed returns what TellSealed has sealed; the zero value where it cannot be
// read.
func Unsealed[T any](v *Vault, kind string, payload []byte) (value T, ok bool) {
	key, open := v.key("news")
	if !open {
		return value, false
	}
	plain, err := sealed.Open(payload, kind, key)
	return value, err == nil && json.Unmarshal(plain, &value) == nil
}
