package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// organizationName is in its certificate, for peers that verify no address.
const organizationName = "organization.example"

// organization answers what stands ready, on every address of loopback: it is
// cheap, so that it disturbs as little as can be, and its login service and all
// tenants' organizations too.
type organization struct {
	base    string // "https://127.0.0.1:port"
	answers map[string][]byte
	sums    map[string]bool // those that tell the sum of the body that came

	mu       sync.Mutex // guards what follows
	held     int        // calls that are not answered before they are released
	released chan struct{}
}

// serveOrganization serves in a process of its own, until that is ended.
func serveOrganization(dir string) error {
	inner, err := (&net.ListenConfig{Control: onlyLoopback}).Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(inner.Addr().String())
	address := "127.0.0.1:" + port
	certificates, ca, err := newCertificates()
	if err != nil {
		return err
	}
	o := newOrganization("https://" + address)
	listener := tls.NewListener(inner, &tls.Config{GetCertificate: certificates.get, NextProtos: []string{"http/1.1"}})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(address), 0o644); err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go o.serve(conn)
	}
}

// onlyLoopback lets nothing in that comes from outside, whatever address it is
// for.
func onlyLoopback(_, _ string, c syscall.RawConn) error {
	var err error
	if control := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, "lo")
	}); control != nil {
		return control
	}
	return err
}

// question is what is looked at of a request.
type question struct {
	name     string // the last segment of the path
	length   int64  // of the body, -1 for chunks
	token    bool
	gzip     bool
	sentHost string
}

func (o *organization) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		q, err := read(in)
		if err != nil {
			return
		}
		sum := crc32.NewIEEE()
		switch {
		case q.length > 0:
			_, err = io.CopyN(sum, in, q.length)
		case q.length < 0:
			if _, err = io.Copy(sum, httputil.NewChunkedReader(in)); err == nil {
				_, err = in.Discard(len("\r\n"))
			}
		}
		if err != nil {
			return
		}
		answer := o.answer(q, conn)
		if o.sums[q.name] {
			answer = bytes.Replace(answer, []byte("\r\n\r\n"), fmt.Appendf(nil, "\r\nBody-Sum: %08x\r\n\r\n", sum.Sum32()), 1)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// read reads a request's head.
func read(in *bufio.Reader) (question, error) {
	var q question
	line, err := in.ReadSlice('\n')
	if err != nil {
		return q, err
	}
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	q.name = string(path[bytes.LastIndexByte(path, '/')+1:])
	for {
		if line, err = in.ReadSlice('\n'); err != nil || len(line) <= len("\r\n") {
			return q, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			for _, c := range value {
				q.length = q.length*10 + int64(c-'0')
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			q.length = -1
		case bytes.EqualFold(name, []byte("Authorization")):
			q.token = string(value) == "Bearer "+token
		case bytes.EqualFold(name, []byte("Accept-Encoding")):
			q.gzip = bytes.Contains(value, []byte("gzip"))
		case bytes.EqualFold(name, []byte("Host")):
			q.sentHost = string(value)
		}
	}
}

// answer finds what is said to q.
func (o *organization) answer(q question, conn net.Conn) []byte {
	switch {
	case q.name == "token":
		return withLength("200 OK", "Content-Type: application/json\r\n", fmt.Appendf(nil, `{"token_type":"Bearer","expires_in":86399,"access_token":%q}`, token))
	case q.name == "held":
		o.mu.Lock()
		defer o.mu.Unlock()
		return withLength("200 OK", "", fmt.Append(nil, o.held))
	case q.name == "release":
		o.mu.Lock()
		defer o.mu.Unlock()
		close(o.released)
		o.released, o.held = make(chan struct{}), 0
		return withLength("200 OK", "", nil)
	case !q.token || !strings.HasSuffix(o.base, q.sentHost[strings.LastIndexByte(q.sentHost, ':'):]):
		// Each address is the organization of a tenant of its own.
		ip := conn.LocalAddr().(*net.TCPAddr).IP.To4()
		return withLength("401 Unauthorized", fmt.Sprintf("WWW-Authenticate: Bearer authorization_uri=%s/%02x%02x%02x%02x-1111-4111-8111-111111111111/oauth2/authorize, resource_id=%[1]s/\r\n",
			o.base, ip[0], ip[1], ip[2], ip[3]), nil)
	case q.name == "hold":
		o.mu.Lock()
		o.held++
		released := o.released
		o.mu.Unlock()
		<-released
		return o.answers["small"]
	case q.gzip:
		if packed, ready := o.answers[q.name+" packed"]; ready {
			return packed
		}
	}
	if answer, ready := o.answers[q.name]; ready {
		return answer
	}
	return withLength("404 Not Found", "", nil)
}

// certificates are made at their first use, one for each address.
type certificates struct {
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	made sync.Map // address to *tls.Certificate
}

func newCertificates() (*certificates, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.Subject.CommonName = "bench"
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	return &certificates{ca: ca, key: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ip := hello.Conn.LocalAddr().(*net.TCPAddr).IP
	if made, ready := c.made.Load(ip.String()); ready {
		return made.(*tls.Certificate), nil
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: c.ca.NotBefore, NotAfter: c.ca.NotAfter,
		DNSNames: []string{organizationName}, IPAddresses: []net.IP{ip},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.ca, &c.key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	made := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.key}
	c.made.Store(ip.String(), made)
	return made, nil
}
