package odata

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestSamples runs what Dataverse and its clients are known to send. The first line of a sample names the method and, for
// batches, the boundary.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %d samples: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			sample, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			method, boundary, _ := strings.Cut(strings.TrimSpace(string(sample.Comment)), " ")
			rewrite := methods(boundary)[method]
			if rewrite == nil || len(sample.Files) != 2 {
				t.Fatalf("%s has %d files", method, len(sample.Files))
			}
			in, want := string(sample.Files[0].Data), string(sample.Files[1].Data)
			if got := rewritten(t, rewrite, in); got != want {
				t.Errorf("LF\n got %s\nwant %s", got, want)
			}
			if boundary == "" {
				return
			}
			if got := rewritten(t, rewrite, crlf(in)); got != crlf(want) {
				t.Errorf("CRLF\n got %s\nwant %s", got, crlf(want))
			}
		})
	}
}

func methods(boundary string) map[string]func(io.Reader) io.Reader {
	r := contoso()
	return map[string]func(io.Reader) io.Reader{
		"ResponseBody":  r.ResponseBody,
		"RequestBody":   r.RequestBody,
		"EndpointsBody": r.EndpointsBody,
		"WSDL":          r.WSDL,
		"BatchResponse": func(src io.Reader) io.Reader { return r.BatchResponse(src, boundary) },
		"BatchRequest": func(src io.Reader) io.Reader {
			var dst bytes.Buffer
			if err := r.BatchRequest(&dst, src, boundary, func(*Part) error { return nil }); err != nil {
				return io.MultiReader(&dst, strings.NewReader(err.Error()))
			}
			return &dst
		},
	}
}
