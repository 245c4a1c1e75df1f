package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const nonroot = 65532

// folders are what the Dockerfile makes in /out, by their modes. Those that
// the program writes into are its user's, and group 0's, as which clusters run
// that choose a user themselves.
var folders = []folder{
	{"etc/", 0o755, 0},
	{"etc/dynproxy/", 0o755, 0},
	{"etc/dynproxy/callers/", 0o770, nonroot},
	{"etc/dynproxy/tenants/", 0o770, nonroot},
	{"etc/ssl/", 0o755, 0},
	{"etc/ssl/certs/", 0o755, 0},
	{"tmp/", 0o1777, 0},
	{"var/", 0o755, 0},
	{"var/lib/", 0o755, 0},
	{"var/lib/dynproxy/", 0o770, nonroot},
	{"var/spool/", 0o755, 0},
	{"var/spool/dynproxy/", 0o770, nonroot},
}

type folder struct {
	path string
	mode int64
	user int
}

// root is the image's one layer, with the program at path.
func root(path string, at time.Time) (v1.Layer, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	headers := []*tar.Header{{Name: "dynproxy", Mode: 0o755, Typeflag: tar.TypeReg}, {Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Typeflag: tar.TypeReg}}
	contents := map[string][]byte{headers[0].Name: program, headers[1].Name: trusted()}
	for _, f := range folders {
		headers = append(headers, &tar.Header{Name: f.path, Mode: f.mode, Uid: f.user, Typeflag: tar.TypeDir})
	}
	slices.SortFunc(headers, func(a, b *tar.Header) int { return strings.Compare(a.Name, b.Name) })
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, h := range headers {
		h.ModTime, h.Size = at, int64(len(contents[h.Name]))
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(contents[h.Name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// trusted are the roots of trust, as PEM: Mozilla's, at the version that go.sum
// holds, and not those of the machine that builds. A root that counts only
// under a condition is left out, since PEM cannot say so.
func trusted() []byte {
	var text bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a buffer takes everything
		}
	}
	return text.Bytes()
}
