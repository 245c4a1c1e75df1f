package odata

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// page is an answer of n rows of 1 KB, each with a link where links is set.
func page(n int, links bool) []byte {
	var b bytes.Buffer
	filler := strings.Repeat(`Lorem ipsum dolor sit amet, the history of http and \"quotes\"; `, 12)
	b.WriteString(`{"@odata.context":"` + orgBase + `/api/data/v9.2/$metadata#accounts","value":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"accountid":"%08x-0000-4000-8000-000000000000","name":"Account %d","description":"%s"`, i, i, filler)
		if links {
			fmt.Fprintf(&b, `,"@odata.etag":"W/\"%d\"","contacts@odata.nextLink":"%s/api/data/v9.2/accounts(%08x-0000-4000-8000-000000000000)/contacts"`, i, orgBase, i)
		}
		b.WriteByte('}')
	}
	b.WriteString("]}")
	return b.Bytes()
}

// versus runs both in turns, seven times each, and gives how fast f is in units of base's speed, by their medians.
func versus(f, base func()) float64 {
	took := func(run func()) time.Duration {
		start := time.Now()
		run()
		return time.Since(start)
	}
	var ours, theirs []time.Duration
	for range 7 {
		theirs = append(theirs, took(base))
		ours = append(ours, took(f))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	return float64(theirs[3]) / float64(ours[3])
}

func benchmarkBody(b *testing.B, body []byte, search func([]byte, []byte) int) {
	src := bytes.NewReader(body)
	needle := []byte(orgBase)
	s := contoso().ResponseBody(src).(*stream)
	p := make([]byte, window)
	read := func() {
		src.Reset(body)
		s.reset(src)
		for {
			if _, err := s.Read(p); err == io.EOF {
				return
			}
		}
	}
	read()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
	b.ReportMetric(versus(read, func() { found += search(body, needle) }), "of-search")
}

// found keeps the searches that are compared with from being left out.
var found int

// BenchmarkPageWithLinks rewrites 5 MB with 5,000 links, in units of the speed of bytes.Count of the host on the same bytes.
func BenchmarkPageWithLinks(b *testing.B) {
	benchmarkBody(b, page(5000, true), bytes.Count)
}

// BenchmarkPageWithoutLinks passes on 5 MB, in units of the speed of bytes.Index of the host on the same bytes.
func BenchmarkPageWithoutLinks(b *testing.B) {
	body := page(5000, false)
	body = bytes.Replace(body, []byte(orgBase), []byte("https://other.example"), 1)
	benchmarkBody(b, body, bytes.Index)
}

// BenchmarkSmallPage rewrites 60 KB with a fresh reader each, as a call does.
func BenchmarkSmallPage(b *testing.B) {
	body := page(58, true)
	src := bytes.NewReader(body)
	p := make([]byte, window)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(body)
		s := contoso().ResponseBody(src)
		for {
			if _, err := s.Read(p); err == io.EOF {
				break
			}
		}
	}
}

// BenchmarkBatchRequest reads a batch of 1,000 creations.
func BenchmarkBatchRequest(b *testing.B) {
	var in strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&in, "--b\r\nContent-Type: application/http\r\n\r\nPOST /contoso/api/data/v9.2/tasks HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"subject\":\"%d\",\"a@odata.bind\":\"%s/a(1)\"}\r\n", i, publicBase)
	}
	in.WriteString("--b--\r\n")
	r := contoso()
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.BatchRequest(io.Discard, strings.NewReader(in.String()), "b", func(*Part) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoAllocationsAChunk holds that rewriting costs no memory beyond the reader itself.
func TestNoAllocationsAChunk(t *testing.T) {
	body := page(500, true)
	src := bytes.NewReader(body)
	s := contoso().ResponseBody(src).(*stream)
	p := make([]byte, 4<<10)
	allocs := testing.AllocsPerRun(10, func() {
		src.Reset(body)
		s.reset(src)
		for {
			if _, err := s.Read(p); err == io.EOF {
				return
			}
		}
	})
	if allocs > 0 {
		t.Errorf("%.0f allocations for a page of %d KB", allocs, len(body)>>10)
	}
}
