package cluster

import (
	"encoding/json"
	"sync"
	"time"

	"dynproxy/internal/textfile"
)

const (
	fewerFor        = time.Hour // that there are fewer members, before it is believed: an upgrade is no smaller fleet
	mostMembers     = 1000
	recordOfMembers = 1 // its version
)

// remembered is how many members there were, for a start without Redis. It
// lies in a file, if that has a name; one that cannot be read counts as none.
type remembered struct {
	file string

	mu    sync.Mutex // guards what follows
	count int        // 0: nothing is known
	fewer time.Time  // since when there are; zero: there are not
}

type rememberedRecord struct {
	V       int `json:"v"`
	Members int `json:"members"`
}

func (r *remembered) read() {
	if r.file == "" {
		return
	}
	text, err := textfile.Read(r.file)
	var record rememberedRecord
	if err == nil && json.Unmarshal(text, &record) == nil && record.V == recordOfMembers && record.Members > 0 && record.Members <= mostMembers {
		r.count = record.Members
	}
}

// note takes in how many there are now, and reports whether that is to be kept.
func (r *remembered) note(members int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case members >= r.count:
	case r.fewer.IsZero():
		r.fewer = now
		return false
	case now.Sub(r.fewer) < fewerFor:
		return false
	}
	changed := members != r.count
	r.count, r.fewer = members, time.Time{}
	return changed
}

// again takes back a note that could not be kept.
func (r *remembered) again(before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = before
}

func (r *remembered) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// Keep writes down how many members there are, where that has changed. Whoever
// has given Options a file calls it now and then; what could not be written is
// tried again.
func (c *Client) Keep() error {
	if c.remembered.file == "" || c.redis == nil || c.observer || !c.usable() {
		return nil
	}
	before, n := c.remembered.size(), c.Size()
	if !c.remembered.note(n, time.Now()) {
		return nil
	}
	text, err := json.Marshal(rememberedRecord{recordOfMembers, n})
	if err != nil {
		return err
	}
	err = textfile.Replace(c.remembered.file, append(text, '\n'))
	if err != nil {
		c.remembered.again(before)
	}
	return err
}
