package consent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Lives of what is signed.
const (
	clickLife  = 15 * time.Minute   // of a link that the portal's page leads to at once
	MailLife   = 7 * 24 * time.Hour // of a link that is sent to an administrator
	statusLife = time.Hour          // of the page that watches for the application user
)

// Key signs states. Proxies and commands that share an app's credential share
// the key, so that a link that one has printed is known to the other.
type Key [sha256.Size]byte

// NewKey derives a key from the app's credential; from nothing it makes one
// that dies with the process.
func NewKey(credential []byte) Key {
	var k Key
	if len(credential) == 0 {
		rand.Read(k[:]) // never fails
		return k
	}
	m := hmac.New(sha256.New, credential)
	m.Write([]byte("dynproxy: states of consent, 1"))
	m.Sum(k[:0])
	return k
}

// purpose keeps one kind of signed text from being taken for another.
type purpose string

const (
	forConsent purpose = "c"
	forStatus  purpose = "s"
)

// State is a text that goes through an administrator's browser and back: it
// names the tenant that is meant, ends at a time, and cannot be made by
// anybody else.
func (k Key) State(tenant string, life time.Duration) string { return k.sign(forConsent, tenant, life) }

func (k Key) sign(p purpose, tenant string, life time.Duration) string {
	body := strings.Join([]string{string(p), strconv.FormatInt(time.Now().Add(life).Unix(), 36), rand.Text(), tenant}, "|")
	return base64.RawURLEncoding.EncodeToString([]byte(body)) + "." + base64.RawURLEncoding.EncodeToString(k.mac(body))
}

func (k Key) mac(body string) []byte {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte(body))
	return m.Sum(nil)
}

// read returns what was signed. ok is false for what was not signed here, late
// for what was and has ended.
func (k Key) read(p purpose, text string) (tenant, nonce string, ends time.Time, ok, late bool) {
	left, right, _ := strings.Cut(text, ".")
	body, err := base64.RawURLEncoding.DecodeString(left)
	mac, macErr := base64.RawURLEncoding.DecodeString(right)
	if err != nil || macErr != nil || !hmac.Equal(mac, k.mac(string(body))) {
		return "", "", time.Time{}, false, false
	}
	parts := strings.SplitN(string(body), "|", 4)
	if len(parts) != 4 || parts[0] != string(p) {
		return "", "", time.Time{}, false, false
	}
	seconds, err := strconv.ParseInt(parts[1], 36, 64)
	if err != nil {
		return "", "", time.Time{}, false, false
	}
	ends = time.Unix(seconds, 0)
	return parts[3], parts[2], ends, true, time.Now().After(ends)
}

// used remembers nonces until they end, so that each is good once.
type used struct {
	mu   sync.Mutex // guards ends
	ends map[string]time.Time
}

// maxUsed bounds the memory. Only states that we have signed get here.
const maxUsed = 100_000

// take reports whether the nonce is new, and notes it.
func (u *used) take(nonce string, ends time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, taken := u.ends[nonce]; taken {
		return false
	}
	if u.ends == nil {
		u.ends = make(map[string]time.Time)
	}
	if len(u.ends) >= maxUsed {
		now := time.Now()
		for n, end := range u.ends {
			if now.After(end) {
				delete(u.ends, n)
			}
		}
		if len(u.ends) >= maxUsed {
			return false
		}
	}
	u.ends[nonce] = ends
	return true
}
