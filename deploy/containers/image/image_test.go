package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const dockerfile = "../../../Dockerfile"

func stage(t *testing.T) v1.Config {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	config, err := lastStage(text, map[string]string{"RELEASE": "v1.2.3", "REVISION": "0123456789ab"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestTheImageIsWhatTheDockerfileSays(t *testing.T) {
	c := stage(t)
	if !slices.Equal(c.Entrypoint, []string{"/dynproxy"}) || !slices.Equal(c.Cmd, []string{"serve"}) || c.User != "65532:65532" || c.StopSignal != "SIGTERM" {
		t.Errorf("%+v", c)
	}
	if c.Healthcheck == nil || !slices.Equal(c.Healthcheck.Test, []string{"CMD", "/dynproxy", "health"}) || c.Healthcheck.Timeout <= 0 {
		t.Errorf("health: %+v", c.Healthcheck)
	}
	for _, want := range []string{"container=oci", "DYNPROXY_LISTEN=:8080", "DYNPROXY_OPS_LISTEN=:8081"} {
		if !slices.Contains(c.Env, want) {
			t.Errorf("%s is not in %q", want, c.Env)
		}
	}
	for _, port := range []string{"8080/tcp", "8081/tcp"} {
		if _, is := c.ExposedPorts[port]; !is {
			t.Errorf("%s is not told", port)
		}
	}
	if c.Labels["org.opencontainers.image.version"] != "v1.2.3" || c.Labels["org.opencontainers.image.title"] != "dynproxy" {
		t.Errorf("%q", c.Labels)
	}
}

// What the program writes into has its place in the image, and is a volume,
// since the rest may be read-only.
func TestWhatIsWrittenHasAPlace(t *testing.T) {
	c := stage(t)
	for path := range c.Volumes {
		if !slices.ContainsFunc(folders, func(f folder) bool {
			return "/"+f.path == path+"/" && f.user == nonroot && f.mode == 0o770
		}) {
			t.Errorf("the volume %s has no folder that the program may write into", path)
		}
		if !slices.ContainsFunc(c.Env, func(set string) bool { return strings.HasSuffix(set, "="+path) }) {
			t.Errorf("no setting leads to the volume %s", path)
		}
	}
}

func TestBaseImagesArePinned(t *testing.T) {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`^\S+:\S+@sha256:[0-9a-f]{64}$`)
	images := regexp.MustCompile(`(?m)^ARG GO_IMAGE=(\S+)$`).FindStringSubmatch(string(text))
	if images == nil || !pinned.MatchString(images[1]) {
		t.Errorf("%q", images)
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (?:--\S+ )?(\S+)`).FindAllStringSubmatch(string(text), -1) {
		if from[1] != "scratch" && from[1] != "${GO_IMAGE}" && !pinned.MatchString(from[1]) {
			t.Errorf("%s may change under the same name", from[1])
		}
	}
}

func TestADirectiveThatCannotBeFollowedIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"FROM debian\nUSER 1":                       "begins with debian",
		"FROM scratch\nCMD serve":                   "asks for a shell",
		"FROM scratch\nENTRYPOINT /dynproxy":        "asks for a shell",
		"FROM scratch\nRUN x":                       "RUN is not understood",
		"FROM scratch\nONBUILD RUN x":               "ONBUILD is not understood",
		"FROM scratch\nCOPY a b /":                  "besides /out/",
		"FROM scratch\nENV A=${B}":                  "B is used and is no ARG",
		"FROM scratch\nNONSENSE 1":                  "NONSENSE",
		"FROM a AS build\nFROM scratch\nCOPY a /b/": "besides /out/",
	} {
		if _, err := lastStage([]byte(text), nil); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// built makes an archive of two programs that are none.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		if err := os.WriteFile(filepath.Join(dir, arch), []byte("program of "+arch), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "image.tar")
	if err := run([]string{
		"-dockerfile", dockerfile, "-release", "v1.2.3", "-revision", "0123456789ab", "-time", "1790000000", "-o", out,
		"amd64=" + filepath.Join(dir, "amd64"), "arm64=" + filepath.Join(dir, "arm64"),
	}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("left lying about: %q, %v", left, err)
	}
	return out
}

func unpack(t *testing.T, path string) v1.ImageIndex {
	t.Helper()
	dir, file := t.TempDir(), open(t, path)
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(filepath.Join(dir, h.Name), 0o700)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(filepath.Join(dir, h.Name), text, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// images are those of an archive, by architecture.
func images(t *testing.T, path string) map[string]v1.Image {
	t.Helper()
	outer := unpack(t, path)
	if err := validate.Index(outer); err != nil {
		t.Fatal(err)
	}
	list, err := outer.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if list.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.2.3" {
		t.Errorf("%q", list.Manifests[0].Annotations)
	}
	inner, err := outer.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if list, err = inner.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]v1.Image)
	for _, m := range list.Manifests {
		if all[m.Platform.Architecture], err = inner.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTheArchiveHoldsBothPlatformsAndIsTheSameEveryTime(t *testing.T) {
	first := built(t)
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(built(t)); err != nil || !bytes.Equal(a, b) {
		t.Error("the second is another", err)
	}
	all := images(t, first)
	for _, arch := range []string{"amd64", "arm64"} {
		if all[arch] == nil {
			t.Fatalf("there is none for %s", arch)
		}
		config, err := all[arch].ConfigFile()
		if err != nil || config.Architecture != arch || config.OS != "linux" || config.Config.User != "65532:65532" || config.Config.Healthcheck == nil {
			t.Errorf("%s: %+v, %v", arch, config, err)
		}
		layers, err := all[arch].Layers()
		if err != nil || len(layers) != 1 {
			t.Fatal(len(layers), err)
		}
		files, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		checkFiles(t, files, "program of "+arch)
	}
}

// checkFiles looks at what an image holds: the program and its places, and
// nothing that anybody could change or run besides.
func checkFiles(t *testing.T, files io.Reader, program string) {
	var executable, roots []string
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		text, _ := io.ReadAll(r)
		switch {
		case err != nil:
			t.Fatal(err)
		case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir, h.Mode&0o6000 != 0, h.Mode&0o002 != 0 && h.Name != "tmp/":
			t.Errorf("%s: %c %o", h.Name, h.Typeflag, h.Mode)
		case h.Typeflag == tar.TypeReg && h.Mode&0o111 != 0:
			executable = append(executable, h.Name+": "+string(text))
		case h.Name == "etc/ssl/certs/ca-certificates.crt":
			roots = names(t, text)
		}
	}
	if !slices.Equal(executable, []string{"dynproxy: " + program}) {
		t.Errorf("%q", executable)
	}
	// What Microsoft's clouds are signed by.
	for _, want := range []string{"DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017", "Microsoft ECC Root Certificate Authority 2017"} {
		if !slices.Contains(roots, want) {
			t.Errorf("%s is not trusted", want)
		}
	}
}

// names are the common names of certificates.
func names(t *testing.T, text []byte) (all []string) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, certificate.Subject.CommonName)
	}
	return all
}

func TestWhatCannotBeMadeIsSaid(t *testing.T) {
	for words, want := range map[string]string{
		"":                                 "needs -dockerfile",
		"-dockerfile x -release v1 -o y":   "a program",
		"-dockerfile x -release v1 -o y z": "is not ARCHITECTURE=PROGRAM",
		"-dockerfile /none -release v1 -o y amd64=/none":              "/none",
		"-dockerfile " + dockerfile + " -release v1 -o y amd64=/none": "amd64: open /none",
	} {
		if err := run(strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", words, err)
		}
	}
}
