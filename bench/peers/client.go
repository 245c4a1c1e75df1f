package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is how long one round of a peer may take at the most.
const patience = 2 * time.Minute

// client is one kept connection, on which calls go one after the other. It
// spends little, since it shares the machine with what is measured.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, 32<<10)}, nil
}

// call sends what is asked, and writes the answer's body to out.
func (c *client) call(ask []byte, out io.Writer) (*http.Response, error) {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(ask); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(out, resp.Body); err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("answered %s", resp.Status)
	}
	return resp, err
}

// ask is a whole request to a peer, as a program of those years sends it.
func ask(p *peer, method, path, header string, body []byte) []byte {
	length := ""
	if body != nil {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return append(fmt.Appendf(nil, "%s /contoso/api/data/v9.2/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: legacy/1.0\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n"+
		"OData-Version: 4.0\r\nOData-MaxVersion: 4.0\r\nPrefer: odata.include-annotations=\"*\"\r\n%s%s\r\n", method, path, p.address, header, length), body...)
}

// crowd are callers at once.
type crowd []*client

func gather(address string, n int) (crowd, error) {
	all := make(crowd, n)
	for i := range all {
		c, err := dial(address)
		if err != nil {
			all[:i].leave()
			return nil, err
		}
		all[i] = c
	}
	return all, nil
}

func (all crowd) leave() {
	for _, c := range all {
		c.Close()
	}
}

// calls makes n calls for each of the asks' turns, shared among the crowd.
func (all crowd) calls(asks [][]byte, n int) error {
	return all.each(func(i int, c *client) error {
		for k := i; k < n; k += len(all) {
			if _, err := c.call(asks[k%len(asks)], io.Discard); err != nil {
				return err
			}
		}
		return nil
	})
}

// each lets all of the crowd do something at once, and returns what went wrong
// first.
func (all crowd) each(do func(int, *client) error) error {
	var busy sync.WaitGroup
	errs := make(chan error, len(all))
	for i, c := range all {
		busy.Go(func() { errs <- do(i, c) })
	}
	busy.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
