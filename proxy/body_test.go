package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
	"dynproxy/proxy"
)

func spooled(place *spool.Place) setting {
	return func(_ map[string]string, p *proxy.Parts) { p.Spool = place }
}

var errDisk = errors.New("the disk failed")

// disk makes files that fail at the nth operation and at all later ones. Of a
// write that fails, half reaches the file.
type disk struct {
	failAt, done atomic.Int64 // 0 for never
	short        atomic.Bool  // a write that fails is only short, and says nothing
	dir          string
}

func (d *disk) fails() bool {
	n := d.done.Add(1)
	return d.failAt.Load() > 0 && n >= d.failAt.Load()
}

func (d *disk) set(failAt int64, short bool) {
	d.done.Store(0)
	d.failAt.Store(failAt)
	d.short.Store(short)
}

func (d *disk) create() (spool.File, error) {
	if d.fails() {
		return nil, errDisk
	}
	f, err := os.CreateTemp(d.dir, "")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	return &diskFile{f, d}, nil
}

type diskFile struct {
	*os.File
	disk *disk
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.disk.fails() {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:len(p)/2], off)
	if err == nil && !f.disk.short.Load() {
		err = errDisk
	}
	return n, err
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if f.disk.fails() {
		return 0, errDisk
	}
	return f.File.ReadAt(p, off)
}

// digests answers with the digest of the body that it got whole.
func digests(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Arrived", fmt.Sprintf("%d %s", n, hex.EncodeToString(h.Sum(nil))))
	w.WriteHeader(http.StatusNoContent)
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%d %s", len(text), hex.EncodeToString(sum[:]))
}

// For every size around each bound, and every moment at which the disk fails,
// what arrives is what was sent, or there is an error that does not blame the
// caller.
func TestWhatArrivesIsWhatWasSent(t *testing.T) {
	t.Parallel()
	const memory, each, window = 40 << 10, 300 << 10, 32 << 10
	d := &disk{dir: t.TempDir()}
	var refuse atomic.Int64 // so many attempts are refused with 401
	var unread atomic.Bool  // before their body was read
	place := &spool.Place{Memory: memory, Each: each, Max: 200 << 10, Open: d.create}
	c := newTestProxy(t, spooled(place), organization(t, func(w http.ResponseWriter, r *http.Request) {
		if refuse.Add(-1) >= 0 {
			if !unread.Load() {
				io.Copy(io.Discard, r.Body)
			}
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		digests(w, r)
	}))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	whole, refused := 0, 0
	try := func(kind, name string, body []byte, chunked bool, again int) {
		t.Helper()
		refuse.Store(int64(again))
		var src io.Reader = bytes.NewReader(body)
		if chunked {
			src = io.MultiReader(src)
		}
		r, _ := http.NewRequest("POST", c.server.URL+"/contoso/api/data/v9.2/x", src)
		if kind == batchType {
			r.URL.Path = "/contoso/api/data/v9.2/$batch"
		}
		r.Header.Set("Content-Type", kind)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch code := resp.Header.Get("Dynproxy-Error"); {
		case resp.StatusCode == http.StatusNoContent:
			whole++
			if got := resp.Header.Get("Arrived"); got != digest(body) {
				t.Fatalf("%s: %.20s arrived of %d", name, got, len(body))
			}
		case code == string(problem.OutOfSpace), again > 0 && code == string(problem.TokenRefused), kind == batchType && len(body) > each && resp.StatusCode == http.StatusRequestEntityTooLarge:
			refused++
		default:
			t.Fatalf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	for _, kind := range []string{"application/json", "application/octet-stream", batchType} {
		for _, size := range sizes(window, memory, 2*window, memory+window, 200<<10, each, each+window) {
			body := jsonOf(size)
			if kind == batchType {
				body = []byte(batchOf(string(jsonOf(size - len(batchOf(""))))))
			}
			for failAt := range int64(16) {
				name := fmt.Sprintf("%s of %d bytes, the disk failing at %d", kind, size, failAt)
				d.set(failAt, failAt%2 == 0)
				try(kind, name, body, false, 0)
				for _, early := range []bool{false, true} {
					unread.Store(early)
					d.set(failAt, failAt%2 == 1)
					try(kind, name+", again", body, true, 1)
				}
			}
		}
	}
	if state := place.State(); state.Used != 0 {
		t.Errorf("%+v", state)
	}
	t.Logf("%d arrived whole, %d were refused", whole, refused)
}

const batchType = "multipart/mixed;boundary=b"

func sizes(bounds ...int) (list []int) {
	for _, b := range bounds {
		list = append(list, b-1, b, b+1)
	}
	return list
}

// jsonOf returns JSON of that many bytes that nothing repeats in.
func jsonOf(size int) []byte {
	text := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size)})
	random.Read(text)
	for i := range text {
		text[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[text[i]%36]
	}
	copy(text, `{"a":"`)
	copy(text[size-2:], `"}`)
	return text
}

// A place that is missing, no folder, full or used up costs the second try, and not a
// byte. A batch, which must be kept to be judged, is refused.
func TestAPlaceThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o400)
	for name, place := range map[string]*spool.Place{
		"missing": {Dir: filepath.Join(dir, "missing")},
		"a file":  {Dir: file},
		"full":    {Open: func() (spool.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }},
		"used up": {Dir: dir, Max: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestProxy(t, spooled(place), organization(t, digests))
			for _, size := range []int{1 << 20, 1<<20 + 1, 1_200_000, 3 << 20} {
				body := jsonOf(size)
				for _, kind := range []string{"application/json", "application/octet-stream"} {
					a := c.call("PATCH", "/contoso/api/data/v9.2/accounts(1)", string(body), "Content-Type: "+kind)
					if a.StatusCode != 204 || a.Header.Get("Arrived") != digest(body) {
						t.Errorf("%s of %d: %d, %.20s", kind, size, a.StatusCode, a.Header.Get("Arrived"))
					}
				}
			}
			a := c.call("POST", "/contoso/api/data/v9.2/$batch", batchOf(string(jsonOf(1_200_000))), "Content-Type: multipart/mixed;boundary=b")
			a.refused(t, problem.OutOfSpace, 507)
			if strings.Contains(a.body, dir) || strings.Contains(a.body, "broke off") {
				t.Error(a.body)
			}
			if log := c.log.String(); name != "used up" && !strings.Contains(log, `"reason":"keep a request's body: `) {
				t.Errorf("the log does not tell: %s", log)
			}
		})
	}
}

func batchOf(body string) string {
	return "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
		"PATCH /api/data/v9.2/accounts(1) HTTP/1.1\r\nContent-Type: application/json\r\n\r\n" + body + "\r\n--b--\r\n"
}

// A batch of more than is kept of any is told its limit; that is not the same
// as no room.
func TestABatchThatIsTooLarge(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, spooled(&spool.Place{Dir: t.TempDir(), Each: 2 << 20}), organization(t, digests))
	batch := batchOf(string(jsonOf(2 << 20)))
	for name, headers := range map[string][]string{
		"plain": nil, "gzip": {"Content-Encoding: gzip"},
	} {
		body := batch
		if headers != nil {
			body = string(packed(batch))
		}
		a := c.call("POST", "/contoso/api/data/v9.2/$batch", body, append(headers, "Content-Type: multipart/mixed;boundary=b")...)
		a.refused(t, problem.BadRequest, 413)
		if !strings.Contains(a.body, "2 MiB") {
			t.Errorf("%s: the limit is not named: %s", name, a.body)
		}
	}
	// Who tells the length is told before it has sent anything.
	c = newTestProxy(t, tenant("contoso", "READ_ONLY=true"), spooled(&spool.Place{Dir: t.TempDir(), Each: 2 << 20}))
	for path, kind := range map[string]string{"/contoso/api/data/v9.2/$batch": batchType, soapPath: "text/xml"} {
		got := c.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", path, kind, 2<<20+1))
		if !strings.HasPrefix(got, "HTTP/1.1 413 ") && path != soapPath || !strings.Contains(got, "2 MiB") || strings.Contains(got, "100 Continue") {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// Who signs in by NTLM unasked leaves the body out at first: what came would be
// carried out, and is not what the caller means.
func TestABodyThatIsHeldBackForNTLMIsNotTakenForNone(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	const first, third = "Authorization: NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA=", "Authorization: NTLM TlRMTVNTUAADAAAAGAAYAG4="
	for _, method := range []string{"POST", "PATCH", "PUT"} {
		a := c.call(method, create, "", jsonType, first, "Content-Length: 0")
		a.refused(t, problem.BadRequest, 400)
		if !strings.Contains(a.body, "Turn NTLM off") {
			t.Errorf("%s: %s", method, a.body)
		}
	}
	if n, _ := c.received("POST"); n != 0 {
		t.Errorf("%d reached the organization", n)
	}
	for _, x := range [][]string{{"POST", `{"name":"x"}`, first}, {"POST", `{"name":"x"}`, third}, {"GET", "", first}} {
		if a := c.call(x[0], create, x[1], jsonType, x[2]); a.StatusCode >= 300 {
			t.Errorf("%s: %d %s", x, a.StatusCode, a.body)
		}
	}
}
