package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// keptRequests is how many of the last requests an organization remembers.
	keptRequests = 512
	// keptBody is how much of a body is remembered, in bytes.
	keptBody = 16 << 10
	// drained is how much of the body of a refused request is read, so that it
	// can be remembered too, in bytes.
	drained = 1 << 20
)

// Request is what an organization received, and what it answered.
type Request struct {
	At     time.Time   `json:"at"`
	Method string      `json:"method"`
	Host   string      `json:"host"`
	Target string      `json:"target"` // the request target as it was sent
	Proto  string      `json:"proto"`
	Header http.Header `json:"header"`
	Client string      `json:"client"` // of the token, "" without a good one
	Server int         `json:"server"` // the web server that took it
	Status int         `json:"status"` // 0 while unanswered, or torn
	// Size and SHA256 are those of the body as far as it was read; Body is its
	// beginning, at most 16 KiB.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Body   []byte `json:"body"`
}

// requestLog keeps the last requests. The zero value is empty.
type requestLog struct {
	mu    sync.Mutex // guards what follows
	total int
	by    map[int]int // answers by status
	last  []*entry
}

// entry is a request whose body is still being read.
type entry struct {
	log     *requestLog
	body    io.ReadCloser
	expects bool // the client waits for leave to send the body

	mu      sync.Mutex // guards what follows
	request Request
	sum     hash.Hash
	whole   bool // the body was read to its end
}

// begin writes a request down and listens to its body.
func (l *requestLog) begin(r *http.Request) *entry {
	n := &entry{
		request: Request{At: time.Now(), Method: r.Method, Host: r.Host, Target: r.RequestURI, Proto: r.Proto, Header: r.Header.Clone()},
		log:     l,
		body:    r.Body,
		expects: r.Header.Get("Expect") != "",
		sum:     sha256.New(),
		whole:   r.ContentLength == 0,
	}
	r.Body = n
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if len(l.last) == keptRequests {
		copy(l.last, l.last[1:])
		l.last = l.last[:keptRequests-1]
	}
	l.last = append(l.last, n)
	return n
}

// Read passes the body on and remembers it.
func (n *entry) Read(p []byte) (int, error) {
	count, err := n.body.Read(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.whole = n.whole || errors.Is(err, io.EOF)
	n.request.Size += int64(count)
	n.sum.Write(p[:count])
	n.request.Body = append(n.request.Body, p[:min(count, keptBody-len(n.request.Body))]...)
	return count, err
}

func (n *entry) Close() error { return n.body.Close() }

// drain reads the body of a request that is refused, unless the client waits
// for leave to send it.
func (n *entry) drain() {
	if !n.expects {
		// A body that breaks off changes nothing in the refusal.
		_, _ = io.CopyN(io.Discard, n, drained)
	}
}

// caller notes who sent the request and which server took it.
func (n *entry) caller(client string, server int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.request.Client, n.request.Server = client, server
}

// answered notes the status.
func (n *entry) answered(status int) {
	n.mu.Lock()
	n.request.Status = status
	n.mu.Unlock()
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	if n.log.by == nil {
		n.log.by = map[int]int{}
	}
	n.log.by[status]++
}

// Requests returns the last requests that the organization received, at most
// 512, oldest first.
func (o *Organization) Requests() []Request {
	o.received.mu.Lock()
	defer o.received.mu.Unlock()
	list := make([]Request, 0, len(o.received.last))
	for _, n := range o.received.last {
		n.mu.Lock()
		r := n.request
		r.SHA256 = hex.EncodeToString(n.sum.Sum(nil))
		n.mu.Unlock()
		list = append(list, r)
	}
	return list
}

// Received returns how many requests have reached the organization.
func (o *Organization) Received() int {
	o.received.mu.Lock()
	defer o.received.mu.Unlock()
	return o.received.total
}

// Answered returns how many were answered with that status.
func (o *Organization) Answered(status int) int {
	o.received.mu.Lock()
	defer o.received.mu.Unlock()
	return o.received.by[status]
}
