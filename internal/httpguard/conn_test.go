package httpguard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// wire is a connection whose input is r.
type wire struct {
	net.Conn
	r io.Reader
}

func (w *wire) Read(p []byte) (int, error)      { return w.r.Read(p) }
func (w *wire) Close() error                    { return nil }
func (w *wire) SetReadDeadline(time.Time) error { return nil }

func guarded(r io.Reader) *conn {
	s := &session{Conn: &wire{r: r}, guard: Listener(nil, *small)}
	return s.frame(s)
}

// asked reads requests as net/http does until one is refused or the input
// ends.
func asked(c io.Reader) (list []string, end string) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return list, fmt.Sprint(err)
		}
		if wrong := Rejected(r); wrong != nil {
			return list, "refused: " + wrong.Message
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return list, fmt.Sprint(err)
		}
		list = append(list, fmt.Sprintf("%s %s %s %q", r.Method, r.RequestURI, r.Host, body))
	}
}

// A refusal is told in the form that the path asks for, as far as that can be
// read.
func TestARefusedRequestKeepsWhatIsSoundOfItsLine(t *testing.T) {
	for line, want := range map[string]string{
		"POST /contoso/x.svc/web HTTP/1.1":                    "POST /contoso/x.svc/web",
		"POST /contoso/x.svc/web?a b HTTP/1.1":                "POST /contoso/x.svc/web",
		"POST /contoso/x.svc/a b HTTP/1.1":                    "POST /contoso/x.svc/a",
		"POST /contoso/x%zz HTTP/1.1":                         "POST /contoso/x",
		"POST /contoso/x.svc/" + strings.Repeat("a", 100<<10): "POST /contoso/x.svc/" + strings.Repeat("a", 1<<10-20),
		"POST  /contoso HTTP/1.1":                             "GET /",
		"P(ST /contoso HTTP/1.1":                              "GET /",
		"CONNECT /contoso HTTP/1.1":                           "GET /",
		"POST http://proxy/contoso HTTP/1.1":                  "GET /",
		"POST /\xff HTTP/1.1":                                 "POST /",
		"POST":                                                "GET /",
		"":                                                    "GET /",
	} {
		if got := string(soundStart([]byte(line))); got != want {
			t.Errorf("%.60q: %.60q", line, got)
		}
	}
	_, addr := behind(t, nil, Limits{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%v %s %s", Rejected(r) != nil, r.Method, r.URL.Path)
	})
	got := talk(t, addr, 1, "POST /contoso/x.svc/web HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
	if got[0] != "200 true POST /contoso/x.svc/web" {
		t.Errorf("%q", got)
	}
}

// However the bytes come in, the server reads the same.
func TestSplitAtEveryByte(t *testing.T) {
	var all []string
	for _, h := range hostile {
		all = append(all, get+"\r\n"+h.raw)
	}
	for _, b := range benign {
		all = append(all, b.raw)
	}
	for _, raw := range all {
		whole, wholeEnd := asked(guarded(strings.NewReader(raw)))
		want := fmt.Sprint(whole, wholeEnd)
		for i := range min(len(raw), 400) {
			got, end := asked(guarded(io.MultiReader(strings.NewReader(raw[:i]), strings.NewReader(raw[i:]))))
			if fmt.Sprint(got, end) != want {
				t.Fatalf("%q split at %d:\ngot  %v %s\nwant %s", raw, i, got, end, want)
			}
		}
		if got, end := asked(guarded(iotest.OneByteReader(strings.NewReader(raw)))); fmt.Sprint(got, end) != want {
			t.Fatalf("%q byte by byte:\ngot  %v %s\nwant %s", raw, got, end, want)
		}
		if got, end := asked(iotest.OneByteReader(guarded(strings.NewReader(raw)))); fmt.Sprint(got, end) != want {
			t.Fatalf("%q asked for byte by byte:\ngot  %v %s\nwant %s", raw, got, end, want)
		}
	}
}

// Thousands of connections rest at a time: one has no room of its own while it
// waits for a request, whatever the one before was and however it came.
func TestAConnectionAtRestHoldsNoRoom(t *testing.T) {
	for _, b := range benign {
		for _, cut := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.OneByteReader} {
			var c *conn
			rests := false
			waits := readerFunc(func([]byte) (int, error) {
				rests = true
				if c.buffer != nil || c.held != nil {
					t.Errorf("%q: %d bytes of room behind it", b.raw, cap(c.buffer))
				}
				return 0, io.EOF
			})
			c = guarded(io.MultiReader(cut(strings.NewReader(b.raw)), waits))
			if _, end := asked(c); end == "EOF" && !rests {
				t.Errorf("%q: nothing more was waited for", b.raw)
			}
		}
	}
	// What net/http reads a byte of while it serves takes room, and gives it back.
	c := guarded(strings.NewReader(""))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF || c.buffer != nil {
		t.Errorf("%v, %d bytes of room", err, cap(c.buffer))
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What passes must come out as it went in.
func TestAcceptedBytesAreUnchanged(t *testing.T) {
	raw := te + "3\r\nabc\r\n0\r\nX: y\r\n\r\n" + post + "Content-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000) + get + "\r\n"
	got, err := io.ReadAll(guarded(iotest.HalfReader(strings.NewReader(raw))))
	if err != nil || string(got) != raw {
		t.Errorf("%d bytes, %v; want %d unchanged", len(got), err, len(raw))
	}
}

func TestBrokenChunkEndsTheBody(t *testing.T) {
	c := guarded(strings.NewReader(te + "3\r\nabc\r\nxyz"))
	got, err := io.ReadAll(c)
	broken, ok := errors.AsType[*BodyError](err)
	if !ok || broken.Reason == "" || string(got) != te+"3\r\nabc\r\n" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, again := c.Read(make([]byte, 1)); again != err {
		t.Errorf("then %v", again)
	}
}

func TestTrailersAreRefused(t *testing.T) {
	for trailer, want := range map[string]string{
		"X: a\r\n b\r\n\r\n":                     "a trailer goes on in the next line",
		"X: a\n\r\n":                             "bare LF in a trailer",
		"X: a\rb\r\n\r\n":                        "bare CR in a trailer",
		next:                                     "a trailer's line is malformed",
		"Content-Length: 3\r\n\r\n":              "framing header in a trailer",
		"transfer_encoding: chunked\r\n\r\n":     "framing header in a trailer",
		"X: " + strings.Repeat("x", trailerSize): "trailers too long",
		"X: a\r\n\r\n":                           "",
	} {
		_, err := io.ReadAll(guarded(strings.NewReader(te + "0\r\n" + trailer)))
		broken, _ := errors.AsType[*BodyError](err)
		if want == "" && err != nil || want != "" && (broken == nil || broken.Reason != want) {
			t.Errorf("%.30q: %v, want %q", trailer, err, want)
		}
	}
}

func TestRefusedConnectionIsDrainedWithinABound(t *testing.T) {
	endless := &io.LimitedReader{R: zeros{}, N: 1 << 40}
	got, err := io.ReadAll(guarded(io.MultiReader(strings.NewReader("GET /\n"), endless)))
	if err != nil || !strings.Contains(string(got), faultBareLF.Message+"\r\n") {
		t.Errorf("read %q, %v", got, err)
	}
	if read := 1<<40 - endless.N; read > 2*drainBytes {
		t.Errorf("%d bytes were drained", read)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var (
	naiveLine  = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+) ([^\x00-\x20\x7f#]+) HTTP/1\.([01])$`)
	naiveField = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*$`)
	naiveSize  = regexp.MustCompile(`^([0-9A-Fa-f]{1,15})(;[^\r\n"]*)?$`)
)

// naive is a second reading of the grammar, with nothing in common with the
// product's: whole lines, expressions, no state. It reads one request off the
// front of raw and returns it in the form of asked; ok is false where it is
// not sound or not whole.
func naive(raw string) (request, rest string, ok bool) {
	raw = strings.TrimPrefix(raw, "\r\n")
	head, rest, ok := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	first := naiveLine.FindStringSubmatch(lines[0])
	if !ok || first == nil || first[1] == "CONNECT" {
		return "", "", false
	}
	fields := map[string][]string{}
	for _, line := range lines[1:] {
		f := naiveField.FindStringSubmatch(line)
		if f == nil {
			return "", "", false
		}
		name := strings.ToLower(f[1])
		fields[name] = append(fields[name], f[2])
	}
	hosts, lengths, codings := fields["host"], fields["content-length"], fields["transfer-encoding"]
	if len(hosts) > 1 || len(hosts) == 0 && first[3] == "1" || len(lengths)+len(codings) > 1 {
		return "", "", false
	}
	host := strings.Join(hosts, "")
	if scheme, after, absolute := strings.Cut(first[2], "://"); absolute && first[2][0] != '/' {
		authority := after[:strings.IndexAny(after+"/", "/?")]
		own := map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(scheme)]
		if len(hosts) > 0 && !strings.EqualFold(strings.TrimSuffix(authority, own), strings.TrimSuffix(host, own)) {
			return "", "", false
		}
		host = authority
	}
	body := ""
	switch {
	case len(codings) == 1:
		if strings.ToLower(codings[0]) != "chunked" || first[3] == "0" {
			return "", "", false
		}
		body, rest, ok = naiveChunks(rest)
	case len(lengths) == 1:
		n, err := strconv.Atoi(lengths[0])
		if ok = err == nil && n <= len(rest) && strconv.Itoa(n) == lengths[0]; ok {
			body, rest = rest[:n], rest[n:]
		}
	}
	return fmt.Sprintf("%s %s %s %q", first[1], first[2], host, body), rest, ok
}

func naiveChunks(raw string) (body, rest string, ok bool) {
	for {
		line, after, found := strings.Cut(raw, "\r\n")
		size := naiveSize.FindStringSubmatch(line)
		if !found || size == nil {
			return "", "", false
		}
		n, err := strconv.ParseInt(size[1], 16, 64)
		if err != nil {
			return "", "", false
		}
		if n == 0 {
			for {
				line, after, found = strings.Cut(after, "\r\n")
				if !found || line != "" && naiveField.FindString(line) == "" {
					return "", "", false
				}
				if line == "" {
					return body, after, true
				}
			}
		}
		if int64(len(after)) < n+2 || after[n:n+2] != "\r\n" {
			return "", "", false
		}
		body, raw = body+after[:n], after[n+2:]
	}
}

// Whatever passes the Guard, net/http and a second parser read alike.
func FuzzTwoParsersAgree(f *testing.F) {
	for _, h := range hostile {
		f.Add([]byte(get+"\r\n"+h.raw+next), uint8(0))
	}
	for _, b := range benign {
		f.Add([]byte(b.raw), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8) {
		var in io.Reader = bytes.NewReader(raw)
		if step > 0 {
			in = &stepReader{raw, int(step)}
		}
		got, _ := asked(guarded(in))
		rest := string(raw)
		for i, g := range got {
			want, after, ok := naive(rest)
			if !ok || want != g {
				t.Fatalf("request %d of %q:\nnet/http %s\nnaive    %s (%v)", i, raw, g, want, ok)
			}
			rest = after
		}
	})
}

type stepReader struct {
	rest []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func benchmarkReads(b *testing.B, guard bool, raw []byte) {
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	in := bytes.NewReader(nil)
	var c io.Reader = in
	if guard {
		c = guarded(in)
	}
	into := make([]byte, 32<<10)
	for b.Loop() {
		in.Reset(raw)
		for left := len(raw); left > 0; {
			n, err := c.Read(into)
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	}
}

func BenchmarkSmallRequest(b *testing.B) {
	raw := []byte("GET /contoso/api/data/v9.2/accounts?$select=name HTTP/1.1\r\nHost: proxy:8080\r\nUser-Agent: legacy/1.0\r\nAccept: application/json\r\nOData-Version: 4.0\r\nX-Api-Key: 0123456789012345678901234567890123456789012\r\n\r\n")
	b.Run("bare", func(b *testing.B) { benchmarkReads(b, false, raw) })
	b.Run("guarded", func(b *testing.B) { benchmarkReads(b, true, raw) })
}

// BenchmarkUpload sends 128 MiB over loopback TCP to a server that drops them.
func BenchmarkUpload(b *testing.B) {
	for _, chunked := range []bool{false, true} {
		for _, guard := range []bool{false, true} {
			b.Run(fmt.Sprintf("chunked=%v/guarded=%v", chunked, guard), func(b *testing.B) { send128MiB(b, chunked, guard) })
		}
	}
}

func send128MiB(b *testing.B, chunked, guard bool) {
	const size = 128 << 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			b.Errorf("%d bytes, %v", n, err)
		}
	})}
	defer s.Close()
	if guard {
		go Listener(l, Limits{}).Serve(s)
	} else {
		go s.Serve(l)
	}
	b.SetBytes(size)
	for b.Loop() {
		r, _ := http.NewRequest("POST", "http://"+l.Addr().String(), io.LimitReader(zeros{}, size))
		if !chunked {
			r.ContentLength = size
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		answer.Body.Close()
	}
}
