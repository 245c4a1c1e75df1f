package httpguard

import (
	"net/http"
	"strings"
	"sync"
)

var heads = sync.Pool{New: func() any { return new([]byte) }}

// judgeParsed holds a request that came in HTTP/2 frames to the rules of
// HTTP/1: what no HTTP/1 server would take must not be sent on to one.
func judgeParsed(r *http.Request) *Fault {
	limits := defaults
	if s, _ := r.Context().Value(sessionKey{}).(*session); s != nil {
		limits = s.guard.limits
	}
	return judgeWritten(r, limits)
}

// Judge returns why a listener of these Limits would refuse r if it came over
// HTTP/1, nil if it would not. r's RequestURI, Host and Header are looked at.
func Judge(r *http.Request, limits Limits) *Fault { return judgeWritten(r, limits.filled()) }

// judgeWritten writes the head of r as HTTP/1 has it, and judges that.
func judgeWritten(r *http.Request, limits *Limits) *Fault {
	kept := heads.Get().(*[]byte)
	head := (*kept)[:0]
	defer func() {
		*kept = head
		heads.Put(kept)
	}()
	head = append(head, r.Method...)
	head = append(head, ' ')
	head = append(head, r.RequestURI...)
	head = append(head, " HTTP/1.1\r\nHost: "...)
	head = append(head, r.Host...)
	lines := 2
	for name, values := range r.Header {
		if name == "Host" && len(values) == 1 && values[0] == r.Host {
			continue // HTTP/2 may name it beside :authority, or in its place
		}
		for _, value := range values {
			head = append(head, "\r\n"...)
			head = append(head, name...)
			head = append(head, ": "...)
			head = append(head, value...)
			lines++
		}
	}
	head = append(head, "\r\n\r\n"...)
	var scan headScan
	end, wrong := scan.scan(head, limits)
	switch {
	case wrong != nil:
		return wrong
	case end != len(head) || scan.lines != lines || strings.Contains(r.RequestURI, "\n"):
		return faultLineBreak
	}
	_, wrong = judge(head)
	return wrong
}

var defaults = Limits{}.filled()
