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

// page is an answer of near 5 MB, with as many links as it has rows if linked.
func page(linked bool) []byte {
	var b strings.Builder
	b.WriteString(`{"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata#accounts","value":[`)
	for i := range 5000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"@odata.etag":"W/\"%d\"",`, 1000000+i)
		if linked {
			fmt.Fprintf(&b, `"Account_Tasks@odata.nextLink":"https://contoso.crm.dynamics.com/api/data/v9.2/accounts(%d)/Account_Tasks?$select=subject",`, i)
		}
		fmt.Fprintf(&b, `"name":"Account %d of Contoso","description":"%s","accountid":"1032c9b8-ed9c-5712-aa29-%012d"}`, i, strings.Repeat("some text that a customer wrote, with commas. ", 18), i)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// ratio measures what and peer in turn, seven times each, and reports how many
// times as fast what is.
func ratio(b *testing.B, bytesEach int, what, peer func()) {
	for b.Loop() {
		var a, z []time.Duration
		for range 7 {
			began := time.Now()
			what()
			a = append(a, time.Since(began))
			began = time.Now()
			peer()
			z = append(z, time.Since(began))
		}
		slices.Sort(a)
		slices.Sort(z)
		b.ReportMetric(z[3].Seconds()/a[3].Seconds(), "times-peer")
		b.ReportMetric(float64(bytesEach)/a[3].Seconds()/1e9, "GB/s")
	}
}

// BenchmarkLinks is a 5 MB page with 5,000 links against counting the
// organization's address in the same bytes.
func BenchmarkLinks(b *testing.B) {
	text, needle, buf := page(true), []byte("https://contoso.crm.dynamics.com"), make([]byte, 32<<10)
	ratio(b, len(text), func() { drain(contoso().ResponseBody(bytes.NewReader(text)), buf) }, func() { bytes.Count(text, needle) })
}

// BenchmarkNoLinks is a page without links against searching for the address.
func BenchmarkNoLinks(b *testing.B) {
	text, needle, buf := page(false)[100:], []byte("https://contoso.crm.dynamics.com"), make([]byte, 32<<10)
	ratio(b, len(text), func() { drain(contoso().ResponseBody(bytes.NewReader(text)), buf) }, func() { bytes.Index(text, needle) })
}

// drain reads as a proxy does, in pieces.
func drain(r io.Reader, buf []byte) {
	for {
		if _, err := r.Read(buf); err != nil {
			return
		}
	}
}

func TestAChunkCostsNoAllocation(t *testing.T) {
	text, buf := page(true), make([]byte, 32<<10)
	allocations := testing.AllocsPerRun(5, func() { drain(contoso().ResponseBody(bytes.NewReader(text)), buf) })
	if chunks := float64(len(text) / len(buf)); allocations > chunks/5 {
		t.Errorf("%v allocations for %v chunks", allocations, chunks)
	}
}
