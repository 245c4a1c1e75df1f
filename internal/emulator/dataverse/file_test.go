package dataverse_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

const octets = "Content-Type: application/octet-stream"

// pattern gives n bytes that differ from place to place.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return string(b)
}

func TestFileWhole(t *testing.T) {
	s := newSite(t)
	path := "accounts(" + s.make("accounts", `{"name":"a"}`) + ")/sample_filecolumn"
	s.api(204, "GET", path+"/$value", "")
	content := pattern(3<<20 + 17)
	s.api(400, "PATCH", path, content, octets)
	s.api(415, "PATCH", path, `{}`, "x-ms-file-name: a.bin")
	s.api(204, "PATCH", path+"?x-ms-file-name=gr%C3%B6%C3%9Fe.bin", content, octets)
	got := s.api(200, "GET", path+"/$value", "")
	if got.body != content || got.header.Get("x-ms-file-size") != fmt.Sprint(len(content)) || got.header.Get("x-ms-file-name") != "gr%C3%B6%C3%9Fe.bin" || got.header.Get("Content-Disposition") == "" {
		t.Errorf("%d of %d bytes, headers %v", len(got.body), len(content), got.header)
	}
	for _, r := range []struct{ from, to int }{{0, 0}, {0, 1<<20 - 1}, {1<<20 - 1, 1 << 20}, {100, 3 << 20}, {len(content) - 1, len(content) - 1}} {
		part := s.api(206, "GET", path+"/$value", "", fmt.Sprintf("Range: bytes=%d-%d", r.from, r.to))
		if part.body != content[r.from:r.to+1] || part.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r.from, r.to, len(content)) {
			t.Errorf("range %v: %d bytes, %v", r, len(part.body), part.header)
		}
	}
	if tail := s.api(206, "GET", path+"/$value", "", fmt.Sprintf("Range: bytes=%d-", len(content)-5)); tail.body != content[len(content)-5:] {
		t.Error("an open range is wrong")
	}
	s.api(416, "GET", path+"/$value", "", fmt.Sprintf("Range: bytes=%d-", len(content)))
	inJSON := s.api(206, "GET", path+"?size=full", "", "Range: bytes=10-19").json(t)
	if plain, err := base64.StdEncoding.DecodeString(inJSON["value"].(string)); err != nil || string(plain) != content[10:20] {
		t.Errorf("as JSON: %v", inJSON)
	}
	s.api(204, "DELETE", path, "")
	s.api(204, "GET", path+"/$value", "")
}

func TestFileInChunks(t *testing.T) {
	s := newSite(t)
	path := "accounts(" + s.make("accounts", `{"name":"a"}`) + ")/sample_filecolumn"
	content := pattern(9<<20 + 3)
	begun := s.api(200, "PATCH", path+"?x-ms-file-name=a.bin", "", "x-ms-transfer-mode: chunked")
	next := begun.header.Get("Location")
	if !strings.HasPrefix(next, orgRoot+path+"?sessiontoken=") || begun.header.Get("x-ms-chunk-size") != "4194304" || begun.header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("headers %v", begun.header)
	}
	const size = 4 << 20
	chunk := func(status, from, to int) {
		s.api(status, "PATCH", next, content[from:to], octets, fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, to-1, len(content)))
	}
	chunk(206, 0, size)
	chunk(416, 2*size, len(content))
	s.api(416, "PATCH", next, content[:10], octets, fmt.Sprintf("Content-Range: bytes %d-%d/%d", size, 2*size-1, len(content)))
	s.api(400, "PATCH", next, content[:10], octets)
	s.api(400, "PATCH", strings.Replace(next, "sessiontoken=", "sessiontoken=0", 1), "a", octets, "Content-Range: bytes 0-0/1")
	s.api(204, "GET", path+"/$value", "")
	chunk(206, size, 2*size)
	chunk(204, 2*size, len(content))
	if got := s.api(200, "GET", path+"/$value", ""); got.body != content || got.header.Get("x-ms-file-name") != "a.bin" {
		t.Error("the file is not what was sent")
	}
	s.api(400, "PATCH", next, "a", octets, "Content-Range: bytes 0-0/1")
}

// A file is kept once: what is allocated for an upload stays near its size.
func TestUploadIsKeptOnce(t *testing.T) {
	s := newSite(t)
	path := "accounts(" + s.make("accounts", `{"name":"a"}`) + ")/sample_filecolumn"
	const size = 24 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := s.stream(path, size); got != 204 {
		t.Fatalf("status %d", got)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size+size/4 {
		t.Errorf("%d bytes allocated for a file of %d", got, size)
	}
	if got := s.stream(path, 128<<20+1); got != 413 {
		t.Errorf("status %d for a file that is too large", got)
	}
}

// stream uploads n zero bytes, waiting for the server's leave to send them.
func (s *site) stream(path string, n int64) int {
	s.t.Helper()
	req, err := http.NewRequest("PATCH", s.server.URL+"/api/data/v9.2/"+path, io.LimitReader(zeros{}, n))
	if err != nil {
		s.t.Fatal(err)
	}
	req.ContentLength = n
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("x-ms-file-name", "big")
	req.Header.Set("Expect", "100-continue")
	transport := s.server.Client().Transport.(*http.Transport).Clone()
	transport.ExpectContinueTimeout = time.Minute
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// zeros is an endless source of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
