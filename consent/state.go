package consent

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Lives of what is signed.
const (
	clickLife  = 15 * time.Minute // of a question that was begun at one of our pages
	statusLife = time.Hour        // of the page that watches for the application user
)

// Key signs links and states. Proxies and commands share it, so that a link that
// one has printed is known to the other.
type Key [sha256.Size]byte

// NewKey derives a key from a secret; from nothing it makes one that dies with
// the process.
func NewKey(secret []byte) Key {
	var k Key
	if len(secret) == 0 {
		rand.Read(k[:]) // never fails
		return k
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("dynproxy: states of consent, 1"))
	m.Sum(k[:0])
	return k
}

// purpose keeps one kind of signed text from being taken for another.
type purpose string

const (
	forConsent  purpose = "c" // a question to the administrator of a tenant
	forNewcomer purpose = "n" // likewise, of whichever tenant
	forStatus   purpose = "s" // the page that watches
	forLink     purpose = "l" // a link to our page of a tenant

	forElsewhere purpose = "e" // as forStatus, for who seems to have signed in to another tenant
)

// signed is what goes through other hands and comes back.
type signed struct {
	purpose purpose
	tenant  string
	nonce   string
	ends    time.Time // zero for never
	browser string    // digest of the cookie of the browser in which it began, "" for any
}

func (s signed) late(now time.Time) bool { return !s.ends.IsZero() && now.After(s.ends) }

// State is a text that goes to Entra ID with an administrator and comes back:
// it names the tenant that is meant, cannot be made by anybody else, is good for
// one answer, and ends after life, or never if that is zero.
func (k Key) State(tenant string, life time.Duration) string {
	return k.sign(signed{purpose: forConsent, tenant: tenant, nonce: rand.Text()}, life)
}

// Link is the signature on a link to the page of a tenant: the value of the
// parameter key. It ends after life, or never if that is zero.
func (k Key) Link(tenant string, life time.Duration) string {
	return k.sign(signed{purpose: forLink, tenant: strings.ToLower(tenant)}, life)
}

func (k Key) sign(s signed, life time.Duration) string {
	ends := ""
	if life != 0 {
		ends = strconv.FormatInt(time.Now().Add(life).Unix(), 36)
	}
	body := strings.Join([]string{string(s.purpose), ends, s.nonce, s.browser, s.tenant}, "|")
	return base64.RawURLEncoding.EncodeToString([]byte(body)) + "." + base64.RawURLEncoding.EncodeToString(k.mac(body))
}

func (k Key) mac(body string) []byte {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte(body))
	return m.Sum(nil)
}

// read returns what was signed for one of the purposes. It reports false for
// what was not signed here, and does not look whether it has ended.
func (k Key) read(text string, purposes ...purpose) (signed, bool) {
	left, right, _ := strings.Cut(text, ".")
	body, err := base64.RawURLEncoding.DecodeString(left)
	mac, macErr := base64.RawURLEncoding.DecodeString(right)
	if err != nil || macErr != nil || !hmac.Equal(mac, k.mac(string(body))) {
		return signed{}, false
	}
	parts := strings.SplitN(string(body), "|", 5)
	if len(parts) != 5 || !slices.Contains(purposes, purpose(parts[0])) {
		return signed{}, false
	}
	s := signed{purpose: purpose(parts[0]), nonce: parts[2], browser: parts[3], tenant: parts[4]}
	if parts[1] != "" {
		seconds, err := strconv.ParseInt(parts[1], 36, 64)
		if err != nil {
			return signed{}, false
		}
		s.ends = time.Unix(seconds, 0)
	}
	return s, true
}

// key is what new things are signed with.
func (p *Pages) key() Key { return p.Keys()[0] }

// read is Key.read for any of the keys.
func (p *Pages) read(text string, purposes ...purpose) (signed, bool) {
	for _, k := range p.Keys() {
		if s, ok := k.read(text, purposes...); ok {
			return s, true
		}
	}
	return signed{}, false
}

// take reports whether s was not used before, here or at another proxy, and
// uses it up. While the others cannot be asked, what was used here counts.
func (p *Pages) take(ctx context.Context, s signed) bool {
	if !p.used.take(s.nonce, s.ends) {
		return false
	}
	if p.Once == nil {
		return true
	}
	life := longestUse
	if !s.ends.IsZero() {
		life = max(time.Until(s.ends), time.Second)
	}
	fresh, err := p.Once(ctx, digest(s.nonce), life)
	return fresh || err != nil
}

// used remembers nonces until they end, so that each is good once.
type used struct {
	mu   sync.Mutex // guards ends
	ends map[string]time.Time
}

const (
	// maxUsed bounds the memory. Only what we have signed gets here; of too many
	// some are forgotten, since to take one twice harms less than to take none.
	maxUsed = 100_000
	// longestUse is how long one is remembered that does not end.
	longestUse = 30 * 24 * time.Hour
)

// take reports whether the nonce is new, and notes it.
func (u *used) take(nonce string, ends time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if ends.IsZero() {
		ends = now.Add(longestUse)
	}
	if _, taken := u.ends[nonce]; taken {
		return false
	}
	if u.ends == nil {
		u.ends = make(map[string]time.Time)
	}
	if len(u.ends) >= maxUsed {
		u.makeRoom(now)
	}
	u.ends[nonce] = ends
	return true
}

// makeRoom drops what has ended, and if that is not enough some of the rest. It
// is called with mu held.
func (u *used) makeRoom(now time.Time) {
	for n, end := range u.ends {
		if now.After(end) {
			delete(u.ends, n)
		}
	}
	for n := range u.ends {
		if len(u.ends) < maxUsed*9/10 {
			return
		}
		delete(u.ends, n)
	}
}
