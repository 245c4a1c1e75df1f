package entra

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"dynproxy/internal/retryafter"
	"dynproxy/internal/sealed"
)

// Shelf is where several proxies keep tokens together. What is put there is
// sealed with a key of the registration's credential.
type Shelf interface {
	// Claim returns the value called name and what is left of its life, "" without
	// one or where its SHA-1 in hex is unwanted, and then whether it is the
	// caller's turn to Fill it. An error means that there is no sharing at the
	// moment; it comes soon.
	Claim(ctx context.Context, name, unwanted string) (value string, left time.Duration, turn bool, err error)
	// Fill puts a value there for a life, and ends the turn; "" only does that.
	Fill(ctx context.Context, name string, value []byte, life time.Duration) error
}

const (
	othersMint = 3 * time.Second       // how long to wait for the token that another proxy asks for
	lookAgain  = 50 * time.Millisecond // whether it has come
	sealedFor  = "token"               // the purpose of keys
	triesShelf = 2                     // in vain, before a proxy gets its own
)

// sharedToken is a Token as it lies on a Shelf.
type sharedToken struct {
	V       int       `json:"v"`
	Header  string    `json:"header"`
	Expires time.Time `json:"expires"`
	Refresh time.Time `json:"refresh"`
	Claims  string    `json:"claims,omitempty"`
}

const sharedVersion = 1

// shelfName names a token on the shelf, whatever its credential: one that was
// sealed with another cannot be read, which is as good as none.
func (t Target) shelfName() string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.Join([]string{t.Login, t.TenantID, t.ClientID, t.Resource}, "\x00"))))
	return hex.EncodeToString(sum[:16])
}

// obtain takes the token that another proxy has got, or gets it for all. former
// is the token that is to be replaced: one that was refused, or is to be renewed.
func (c *Cache) obtain(ctx context.Context, t Target, claims string, former *held) (Token, error) {
	keys := c.sealing(t)
	if len(keys) == 0 {
		return c.observed(ctx, t, claims)
	}
	name, unwanted, vain := t.shelfName(), "", 0
	for began := time.Now(); time.Since(began) < othersMint; {
		value, left, turn, err := c.Shelf.Claim(ctx, name, unwanted)
		if vain++; err != nil && vain < triesShelf {
			continue
		} else if err != nil {
			break
		}
		vain = 0
		if turn {
			return c.obtainForAll(ctx, t, claims, name, keys[0])
		}
		if value == "" {
			if retryafter.Sleep(ctx, lookAgain) != nil {
				break
			}
			continue
		}
		if token, good := readShared(value, left, name, claims, former, keys); good {
			if c.Taken != nil {
				c.Taken()
			}
			return token, nil
		}
		sum := sha1.Sum([]byte(value))
		unwanted = hex.EncodeToString(sum[:])
	}
	return c.observed(ctx, t, claims)
}

// sealing are the keys for t's tokens: none where nothing is shared.
func (c *Cache) sealing(t Target) []sealed.Key {
	if c.Shelf == nil {
		return nil
	}
	return c.SealingKeys(t.Credential)
}

// obtainForAll mints, and puts the token where the others wait for it. A turn
// that came to nothing is the next one's.
func (c *Cache) obtainForAll(ctx context.Context, t Target, claims, name string, key sealed.Key) (Token, error) {
	token, err := c.observed(ctx, t, claims)
	var value []byte
	if life := time.Until(token.Expires); err == nil && life > 0 {
		plain, failed := json.Marshal(sharedToken{sharedVersion, token.Header, token.Expires, token.Refresh, claims})
		if failed == nil {
			value = key.Seal(plain, name)
		}
	}
	// Whoever waits here has its token, so nobody waits for this; an error
	// means that the others mint too.
	c.Shelf.Fill(context.WithoutCancel(ctx), name, value, time.Until(token.Expires))
	return token, err
}

// readShared returns the token of value if it is of use: it answers claims, has
// time left, and is later than former. Whoever got it may have another clock: how
// long it is good the shelf knows.
func readShared(value string, left time.Duration, name, claims string, former *held, keys []sealed.Key) (Token, bool) {
	plain, err := sealed.Open([]byte(value), name, keys...)
	var s sharedToken
	if err != nil || json.Unmarshal(plain, &s) != nil || s.V != sharedVersion || s.Claims != claims {
		return Token{}, false
	}
	now := time.Now()
	token := Token{Header: s.Header, Expires: now.Add(left)}
	if !s.Refresh.IsZero() {
		token.Refresh = token.Expires.Add(s.Refresh.Sub(s.Expires))
	}
	if h := hold(token, claims, now); !h.good(now) || s.Header == "" {
		return Token{}, false
	}
	if former != nil && (former.Header == s.Header || former.good(now) && !token.Expires.After(former.Expires)) {
		return Token{}, false
	}
	return token, true
}

// SealingKeys are the keys that follow from what a registration proves itself
// with: the one to seal with first. A registration without a secret of its own,
// such as a managed identity, has none.
func (m *TokenClient) SealingKeys(identity string) []sealed.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.registrations[identity]
	if r == nil {
		return nil
	}
	var keys []sealed.Key
	for _, p := range r.lastRead {
		if len(p.private) > 0 {
			keys = append(keys, sealed.NewKey(p.private, sealedFor))
		}
	}
	return keys
}
