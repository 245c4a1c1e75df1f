package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	leavers = 3
	readers = 2
	pause   = 40 * time.Millisecond // of a writer between two writes
	patient = time.Minute           // of a caller that does not leave
)

// fate is what a caller was told of its write.
type fate uint8

const (
	done  fate = iota // it must be there, once
	not               // it must not be there
	maybe             // it may be there, once
)

// ledger is what became of the writes, by id, as their callers were told.
type ledger struct {
	mu      sync.Mutex // guards what follows
	fates   map[string]fate
	refused map[string]int // by the code of ours, or the organization's status
	reads   int
	torn    error // the first answer to a read that was not what it said
}

// traffic lets callers write, read and leave for a lap, with one trouble after
// the other.
func (w *world) traffic(lap int) *ledger {
	sent := &ledger{fates: make(map[string]fate), refused: make(map[string]int)}
	end, stop := context.WithTimeout(context.Background(), lapTime)
	defer stop()
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			caller := newCaller(w, i)
			defer caller.leave()
			for n := 0; end.Err() == nil; n++ {
				caller.write(context.Background(), fmt.Sprintf("%s-w%d-%d", prefix(lap), i, n), n%25 == 24, sent)
				time.Sleep(pause)
			}
		})
	}
	for i := range leavers {
		all.Go(func() {
			for n := 0; end.Err() == nil; n++ {
				caller := newCaller(w, i)
				soon, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(40))*time.Millisecond)
				caller.write(soon, fmt.Sprintf("%s-l%d-%d", prefix(lap), i, n), n%10 == 9, sent)
				cancel()
				caller.leave()
				time.Sleep(pause)
			}
		})
	}
	for i := range readers {
		all.Go(func() {
			caller := newCaller(w, i)
			defer caller.leave()
			for end.Err() == nil {
				caller.read(sent)
				time.Sleep(pause)
			}
		})
	}
	every := time.NewTicker(lapTime / time.Duration(len(troubles)+1))
	defer every.Stop()
	for i, trouble := range troubles {
		<-every.C
		trouble(w)
		if seldom := rare[lap%15]; seldom != nil && i == len(troubles)/2 {
			seldom(w)
		}
	}
	all.Wait()
	return sent
}

// prefix begins the ids of a lap.
func prefix(lap int) string { return fmt.Sprintf("soak%d", lap) }

// caller calls on connections of its own.
type caller struct {
	client *http.Client
	base   string
	key    string
}

func newCaller(w *world, i int) *caller {
	return &caller{&http.Client{Transport: &http.Transport{}, Timeout: patient}, w.proxy.Calls + "/contoso/api/data/v9.2/", keyOf(i)}
}

func (c *caller) leave() { c.client.CloseIdleConnections() }

func (c *caller) send(ctx context.Context, method, path, body string) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("X-Api-Key", c.key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

// write creates an account with the id as its name. A large body, most of it
// blanks, goes to a file on its way.
func (c *caller) write(ctx context.Context, id string, large bool, sent *ledger) {
	filler := ""
	if large {
		filler = strings.Repeat(" ", 3<<19)
	}
	resp, text, err := c.send(ctx, http.MethodPost, "accounts", fmt.Sprintf(`{"name":%q%s}`, id, filler))
	told := maybe
	if err == nil {
		told = read(resp, text)
	}
	sent.mu.Lock()
	defer sent.mu.Unlock()
	sent.fates[id] = told
	if told == not {
		sent.refused[cmp.Or(resp.Header.Get("Dynproxy-Error"), resp.Status)]++
	}
}

// read is what an answer to a write says.
func read(resp *http.Response, text []byte) fate {
	switch code := resp.Header.Get("Dynproxy-Error"); {
	case resp.StatusCode < 300:
		return done
	case code == "upstream_unreachable" && strings.Contains(string(text), "Nothing of the request was sent"):
		return not
	case code == "upstream_unreachable", code == "upstream_timeout", code == "not_an_answer", code == "internal_error":
		return maybe
	}
	return not // a refusal, of ours or of the organization
}

// read reads a page, which is whole or broken off.
func (c *caller) read(sent *ledger) {
	resp, text, err := c.send(context.Background(), http.MethodGet, "accounts?$select=name&$top=50", "")
	sent.mu.Lock()
	defer sent.mu.Unlock()
	sent.reads++
	if err == nil && !json.Valid(text) && sent.torn == nil {
		sent.torn = fmt.Errorf("an answer with status %d to a read is not whole: %.200q", resp.StatusCode, text)
	}
}

// count returns how often each id of a lap is among the organization's records.
func (w *world) count(lap int) (map[string]int, error) {
	c := newCaller(w, 0)
	defer c.leave()
	next, counted := "accounts?$select=name&$filter="+url.QueryEscape("startswith(name,'"+prefix(lap)+"-')"), make(map[string]int)
	for next != "" {
		var page struct {
			Value []struct{ Name string }
			Next  string `json:"@odata.nextLink"`
		}
		text, err := c.insist(next)
		if err == nil {
			err = json.Unmarshal(text, &page)
		}
		if err != nil {
			return nil, err
		}
		for _, row := range page.Value {
			counted[row.Name]++
		}
		next = strings.TrimPrefix(page.Next, c.base)
	}
	return counted, nil
}

// insist reads until it is answered: what went wrong before may still be felt.
func (c *caller) insist(path string) ([]byte, error) {
	var last error
	for began := time.Now(); time.Since(began) < 2*patient; time.Sleep(200 * time.Millisecond) {
		resp, text, err := c.send(context.Background(), http.MethodGet, path, "")
		if err == nil && resp.StatusCode == http.StatusOK {
			return text, nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("%s: %.300s", resp.Status, text)
			if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
				break
			}
		}
	}
	return nil, last
}
