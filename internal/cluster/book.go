package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"

	"dynproxy/internal/sealed"
)

// Book is the files that all proxies have in common, sealed, each with the
// version at which it was written last.
type Book struct{ vault *Vault }

// Book is that of the vault.
func (v *Vault) Book() *Book { return &Book{v} }

// BookFile is a file of a Book.
type BookFile struct {
	ID      string // stands for the name, which is sealed too
	Name    string // "" for one that was removed
	Text    string
	Version int64
}

// Edition tells one state of a Book from others: the zero value is that of no
// book at all.
type Edition struct {
	Epoch   int64 `json:"epoch"` // when the book was begun
	Version int64 `json:"version"`
}

// ErrChanged is for a file that somebody else has changed meanwhile.
var ErrChanged = errors.New("somebody else has changed it at this moment; look at it and try again")

// filesSince returns the edition of the book, and the files that were written
// or removed after a version.
var filesSince = Script{Source: `
local files, log, state = KEYS[1], KEYS[2], KEYS[3]
local edition = redis.call('HMGET', state, 'epoch', 'version')
if not edition[2] then return {'0', '0', {}} end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
local found = {}
local news = redis.call('ZRANGEBYSCORE', log, '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #news, 2 do
  found[#found + 1] = news[i]
  found[#found + 1] = news[i + 1]
  found[#found + 1] = redis.call('HGET', files, news[i]) or ''
end
return {edition[1], edition[2], found}
`}

// putFile writes or removes a file whose version is what the writer knows: 0
// for none, -1 for any.
var putFile = Script{Source: `
local files, log, state = KEYS[1], KEYS[2], KEYS[3]
local id, text, known = ARGV[1], ARGV[2], tonumber(ARGV[3])
local version = 0
if redis.call('HEXISTS', files, id) == 1 then version = tonumber(redis.call('ZSCORE', log, id)) end
if known >= 0 and known ~= version then return {'0', '0'} end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('HSETNX', state, 'epoch', now)
redis.call('HSETNX', state, 'version', now)
local next = redis.call('HINCRBY', state, 'version', 1)
if text == '' then redis.call('HDEL', files, id) else redis.call('HSET', files, id, text) end
redis.call('ZADD', log, string.format('%.0f', next), id)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
return {redis.call('HGET', state, 'epoch'), string.format('%.0f', next)}
`}

const mostFiles = 500 // at once

func (b *Book) keys() []string {
	c := b.vault.client
	return []string{c.Key("book", "files"), c.Key("book", "log"), c.Key("book", "state")}
}

// ID stands for a file's name.
func (b *Book) ID(name string) string {
	b.vault.mu.Lock()
	defer b.vault.mu.Unlock()
	m := hmac.New(sha256.New, b.vault.secret)
	m.Write([]byte("name of a file\x00" + name))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

type bookText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Since returns the edition of the book, and what was written or removed after
// a version, the oldest first. It opens the vault where that is to be done.
func (b *Book) Since(ctx context.Context, version int64) (Edition, []BookFile, error) {
	if err := b.vault.Open(ctx); err != nil {
		return Edition{}, nil, err
	}
	key, _ := b.vault.key("book")
	var edition Edition
	var all []BookFile
	for {
		got, err := do(ctx, b.vault.client, filesSince.on(b.keys(), []any{version, mostFiles, keptFor.Milliseconds()}))
		if err != nil {
			return Edition{}, nil, err
		}
		list, _ := got.([]any)
		if len(list) != 3 {
			return Edition{}, nil, errStrange
		}
		edition.Epoch, _ = strconv.ParseInt(text(list[0]), 10, 64)
		edition.Version, _ = strconv.ParseInt(text(list[1]), 10, 64)
		found, _ := list[2].([]any)
		for i := 0; i+2 < len(found); i += 3 {
			f := BookFile{ID: text(found[i])}
			f.Version, _ = strconv.ParseInt(text(found[i+1]), 10, 64)
			version = f.Version
			if err := f.open(text(found[i+2]), key); err != nil {
				return Edition{}, nil, errOtherSecret
			}
			all = append(all, f)
		}
		if len(found) < 3*mostFiles {
			return edition, all, nil
		}
	}
}

// open takes what was sealed; nothing is a file that was removed.
func (f *BookFile) open(sealedText string, key sealed.Key) error {
	if sealedText == "" {
		return nil
	}
	plain, err := sealed.Open([]byte(sealedText), f.ID, key)
	if err != nil {
		return err
	}
	var t bookText
	err = json.Unmarshal(plain, &t)
	f.Name, f.Text = t.Name, t.Text
	return err
}

// Put writes a file whose version is known: 0 for one that is not there, -1 for
// whichever. remove takes it out. The error is ErrChanged where the version is
// another.
func (b *Book) Put(ctx context.Context, name, content string, remove bool, known int64) (Edition, error) {
	if err := b.vault.Open(ctx); err != nil {
		return Edition{}, err
	}
	key, _ := b.vault.key("book")
	id := b.ID(name)
	var value []byte
	if !remove {
		plain, err := json.Marshal(bookText{name, content})
		if err != nil {
			return Edition{}, err
		}
		value = key.Seal(plain, id)
	}
	got, err := do(ctx, b.vault.client, putFile.on(b.keys(), []any{id, value, known, keptFor.Milliseconds()}))
	if err != nil {
		return Edition{}, err
	}
	list, _ := got.([]any)
	if len(list) != 2 {
		return Edition{}, errStrange
	}
	var e Edition
	e.Epoch, _ = strconv.ParseInt(text(list[0]), 10, 64)
	e.Version, _ = strconv.ParseInt(text(list[1]), 10, 64)
	if e.Version == 0 {
		return Edition{}, ErrChanged
	}
	return e, nil
}
