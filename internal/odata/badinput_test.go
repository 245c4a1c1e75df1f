package odata

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// endless gives at least n bytes, the same text over and over.
type endless struct {
	text string
	n    int64
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = e.text[e.at]
		e.at = (e.at + 1) % len(e.text)
	}
	e.n -= int64(len(p))
	return len(p), nil
}

// TestMemoryStaysBounded reads 3 MiB of what might be held, and looks at what is.
func TestMemoryStaysBounded(t *testing.T) {
	answer := "--batchresponse_1\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
	tests := []struct{ name, methods, before, text string }{
		{"string", "ResponseBody RequestBody EndpointsBody", `{"a":"`, "xyz"},
		{"string of escapes", "ResponseBody EndpointsBody", `{"a":"`, `\\\u0040\"`},
		{"backslashes", "ResponseBody EndpointsBody", `{"a":"`, `\`},
		{"link", "ResponseBody", `{"@odata.id":"` + orgBase, "/x"},
		{"foreign link", "ResponseBody", `{"@odata.id":"`, "h"},
		{"link of escapes", "ResponseBody", `{"@odata.id":"`, `\u0068`},
		{"links", "ResponseBody", `{"@odata.id":[`, `"` + orgBase + `/",`},
		{"name", "ResponseBody EndpointsBody", `{"`, "@odata."},
		{"white space", "ResponseBody", `{"@odata.id"`, " "},
		{"nesting", "ResponseBody EndpointsBody", `{"Detail":`, `{"Endpoints":[`},
		{"line", "BatchResponse", answer, "xyz"},
		{"blank lines", "BatchResponse", answer, "\n"},
		{"blank lines before a head", "BatchResponse", answer[:strings.Index(answer, "HTTP")], "\n"},
		{"head", "BatchResponse", "--batchresponse_1\r\n", "A: b\r\n"},
		{"delimiters", "BatchResponse", "", "--batchresponse_1\r\n"},
		{"tag", "WSDL", "<a ", "location"},
		{"tags", "WSDL", "<a ", "location='x' <"},
		{"address", "WSDL", "<Address>", " "},
	}
	for _, tt := range tests {
		for _, method := range strings.Fields(tt.methods) {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				before := heap()
				body := methods("batchresponse_1")[method](io.MultiReader(strings.NewReader(tt.before), &endless{text: tt.text, n: 4 << 20}))
				if _, err := io.CopyN(io.Discard, body, 3<<20); err != nil {
					t.Fatal(err)
				}
				if held := heap() - before; held > 2<<20 {
					t.Errorf("%d KiB are held", held>>10)
				}
				runtime.KeepAlive(body)
			})
		}
	}
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestBrokenBodiesEndInTheirError(t *testing.T) {
	broken := errors.New("reset")
	in := based(jsonSeeds[0])
	for method, rewrite := range methods("b") {
		if method == "BatchRequest" {
			continue
		}
		for i := range len(in) {
			src := io.MultiReader(strings.NewReader(in[:i]), iotest.ErrReader(broken))
			out, err := io.ReadAll(rewrite(src))
			if err != broken {
				t.Fatalf("%s broken off at %d: err = %v", method, i, err)
			}
			if i < 15 && string(out) != in[:i] {
				t.Fatalf("%s broken off at %d gave %q", method, i, out)
			}
		}
	}
	err := contoso().BatchRequest(io.Discard, iotest.ErrReader(broken), "b", func(*Part) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("BatchRequest: err = %v", err)
	}
}
