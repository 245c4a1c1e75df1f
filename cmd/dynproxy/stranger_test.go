package main

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// strangers are what may answer in the place of a proxy; "" says nothing.
var strangers = map[string]string{
	"silence": "", "nothing": "\x00", "garbage": "\x00\xffnonsense\r\n\r\n", "a web page": "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
	"null": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "an object": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "a list": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[null]", "a text": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"x\"",
	"half an answer": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\"", "a circle": "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "another protocol": "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	"an error without words": "HTTP/1.1 500 X\r\nContent-Length: 14\r\n\r\n{\"error\":null}", "an error that moves the cursor": "HTTP/1.1 500 X\r\nContent-Length: 40\r\n\r\n{\"error\":{\"message\":\"\\u001b[2Jhello\"}}   ",
	"a head without end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 12<<20), "a body without end": "HTTP/1.1 200 OK\r\n\r\n{\"a\":\"" + strings.Repeat("x", 1<<20),
}

// answers gives every connection raw, once something was asked.
func answers(t *testing.T, raw string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				if raw == "" {
					<-t.Context().Done()
				}
				c.Write([]byte(strings.TrimPrefix(raw, "\x00")))
			}()
		}
	}()
	return l.Addr().String()
}

// Commands that ask a running proxy come to an end, in words, whatever answers.
func TestWhatIsNoProxyIsToldInWords(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for name, raw := range strangers {
		at := answers(t, raw)
		for _, command := range []string{"health", "tail", "trace 1", "explain /contoso/x", "usage", "usage --csv"} {
			all.Go(func() {
				settings := with("OPS_LISTEN="+at, "OPS_PASSWORD="+hiddenWord)
				status, out, said := ended(t, strings.Fields(command), settings)
				if status != 1 || out != "" || !strings.HasPrefix(said, "dynproxy: ") || strings.Contains(said, hiddenWord) || strings.Contains(said, "\x1b") || strings.Contains(said, "context") {
					t.Errorf("%s, %s: status %d, %.200q %.500q", name, command, status, out, said)
				}
			})
		}
	}
	all.Wait()
}
