package proxy_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
)

func codedAs(coding, text string) string {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip", "x-gzip", "GZIP":
		return string(packed(text))
	case "deflate":
		w = zlib.NewWriter(&b)
	case "bare deflate":
		w, _ = flate.NewWriter(&b, 5)
	default:
		return text
	}
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// What is compressed is judged and rewritten like what is not, or refused.
func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	const link = `{"name":"x","primarycontactid@odata.bind":"http://proxy:8080/contoso/api/data/v9.2/contacts(22222222-2222-2222-2222-222222222222)"}`
	home := strings.ReplaceAll(link, proxyBase, orgBase)
	for _, coding := range []string{"gzip", "x-gzip", "GZIP", "deflate", "bare deflate", "identity"} {
		t.Run(coding, func(t *testing.T) {
			header := "Content-Encoding: " + strings.TrimPrefix(coding, "bare ")
			c.call("POST", create, codedAs(coding, link), jsonType, header, "Host: proxy:8080")
			got := c.last()
			if string(got.Body) != home || got.Header.Get("Content-Length") != "" && got.Header.Get("Content-Length") != fmt.Sprint(len(home)) {
				t.Errorf("reached %q %v", got.Body, got.Header)
			}
			if left := got.Header.Get("Content-Encoding"); left != "" && coding != "identity" {
				t.Errorf("still said to be %s", left)
			}
			c.call("POST", "/contoso/api/data/v9.2/$batch", codedAs(coding, batchOf(link)), "Content-Type: multipart/mixed;boundary=b", header, "Host: proxy:8080")
			if got := c.last(); string(got.Body) != batchOf(home) {
				t.Errorf("reached %q", got.Body)
			}
			a := c.call("POST", "/contoso/api/data/v9.2/$batch", codedAs(coding, strings.Replace(batchOf(link), "/api/data/v9.2/accounts(1)", "/main.aspx", 1)), "Content-Type: multipart/mixed;boundary=b", header)
			a.refused(t, problem.PathNotAllowed, 403)
		})
	}
	before := c.contoso.Received()
	for name, headers := range map[string][]string{
		"br": {"Content-Encoding: br"}, "zstd": {"Content-Encoding: zstd"}, "unknown": {"Content-Encoding: x"},
		"several": {"Content-Encoding: gzip, gzip"}, "several lines": {"Content-Encoding: gzip", "Content-Encoding: deflate"},
		"no gzip": {"Content-Encoding: gzip"}, "no deflate": {"Content-Encoding: deflate"},
	} {
		for _, kind := range []string{jsonType, "Content-Type: multipart/mixed;boundary=b"} {
			target := create
			if kind != jsonType {
				target = "/contoso/api/data/v9.2/$batch"
			}
			a := c.call("POST", target, link, append(headers, kind)...)
			a.refused(t, problem.BadRequest, 400)
			if !strings.Contains(a.body, "Content-Encoding") {
				t.Errorf("%s: %s", name, a.body)
			}
		}
	}
	cut := string(packed(link))
	for name, body := range map[string]string{"cut": cut[:len(cut)-9], "with something behind": cut + "x"} {
		a := c.call("POST", create, body, jsonType, "Content-Encoding: gzip")
		a.refused(t, problem.BadRequest, 400)
		if strings.Contains(a.body, "broke off") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if n := c.contoso.Received() - before; n != 0 {
		t.Errorf("%d were sent on", n)
	}
	id := strings.Trim(firstID(t, c), `"`)
	c.call("PATCH", "/contoso/api/data/v9.2/accounts("+id+")/sample_filecolumn?x-ms-file-name=a", cut, "Content-Type: application/octet-stream", "Content-Encoding: gzip")
	if got := c.last(); string(got.Body) != cut || got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a file was not left alone: %q %v", got.Body, got.Header)
	}
}

// An answer is read for links by what it is.
func TestAnswersByWhatTheyAre(t *testing.T) {
	t.Parallel()
	text := `{"value":[` + row + `]}`
	home := strings.ReplaceAll(text, orgBase, proxyBase)
	for name, a := range map[string]struct{ kind, text, want string }{
		"no type":         {"", text, home},
		"no type, a file": {"", "x" + text, "x" + text},
		"text/json":       {"text/json", text, home},
		"twice":           {"application/json; charset=utf-8; Charset=UTF-8", text, home},
		"upper case":      {"Application/JSON", text, home},
		"broken":          {"application/json; odata.metadata", text, home},
		"text":            {"text/plain", text, text},
	} {
		for _, accept := range []string{"gzip", "identity"} {
			for _, coding := range []string{"", "gzip"} {
				t.Run(name+" "+accept+" "+coding, func(t *testing.T) {
					c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header()["Content-Type"] = nil
						if a.kind != "" {
							w.Header().Set("Content-Type", a.kind)
						}
						if coding == "" {
							io.WriteString(w, a.text)
							return
						}
						w.Header().Set("Content-Encoding", coding)
						w.Write(packed(a.text))
					}))
					r, _ := http.NewRequest("GET", c.server.URL+"/contoso/api/data/v9.2/x", nil)
					r.Host = "proxy:8080"
					r.Header.Set("Accept-Encoding", accept)
					resp, err := c.client("HTTP/1.1").Do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					src := io.Reader(resp.Body)
					if got := resp.Header.Get("Content-Encoding"); (got != "") != (accept == "gzip" && coding != "") {
						t.Errorf("coding %q", got)
					} else if got != "" {
						if src, err = gzip.NewReader(resp.Body); err != nil {
							t.Fatal(err)
						}
					}
					if got, err := io.ReadAll(src); err != nil || string(got) != a.want {
						t.Errorf("%q, %v", got, err)
					}
				})
			}
		}
	}
}

// A few bytes that become very many are refused before anything is sent, and
// cost no memory.
func TestABombInARequest(t *testing.T) {
	c := newTestProxy(t, spooled(&spool.Place{Dir: t.TempDir()}), organization(t, digests))
	bomb := packed(string(bytes.Repeat([]byte(" "), 200<<20)))
	most := heap(func() {
		a := c.call("POST", create, string(bomb), jsonType, "Content-Encoding: gzip")
		a.refused(t, problem.BadRequest, 413)
	})
	if most > 300<<20 {
		t.Errorf("%d MiB of memory in use", most>>20)
	}
}

// Nothing is made up that the organization did not say, and HEAD says what GET
// would.
func TestNoHeaderIsInvented(t *testing.T) {
	t.Parallel()
	large := `{"value":[` + row + strings.Repeat(","+row, 99) + `]}`
	for name, o := range map[string]struct {
		kind, text string
		gzip       bool
	}{
		"no type":     {"", "<xml>hello", false},
		"no type, {":  {"", `{"a":1}`, false},
		"text":        {"text/plain", "hello", false},
		"JSON":        {"application/json", large, false},
		"packed JSON": {"application/json", large, true},
		"packed text": {"text/plain", large, true},
		"empty":       {"", "", false},
	} {
		for _, accept := range []string{"gzip", "identity"} {
			t.Run(name+" "+accept, func(t *testing.T) {
				c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
					h := w.Header()
					h["Date"] = nil
					h["Content-Type"] = nil
					if o.kind != "" {
						h.Set("Content-Type", o.kind)
					}
					body := []byte(o.text)
					if o.gzip {
						h.Set("Content-Encoding", "gzip")
						body = packed(o.text)
					}
					h.Set("Content-Length", fmt.Sprint(len(body)))
					w.Write(body)
				}))
				get := c.get("/contoso/api/data/v9.2/x", "Accept-Encoding: "+accept)
				head := c.call("HEAD", "/contoso/api/data/v9.2/x", "", "Accept-Encoding: "+accept)
				if get.err != nil || get.StatusCode != 200 || head.StatusCode != 200 {
					t.Fatalf("%d %d %v", get.StatusCode, head.StatusCode, get.err)
				}
				for _, a := range []*answer{get, head} {
					if got, there := a.Header["Content-Type"]; there != (o.kind != "") {
						t.Errorf("%s: Content-Type %q", a.Request.Method, got)
					}
					if a.Header.Get("Date") != "" || a.Header.Get("Vary") != "" {
						t.Errorf("%s: %v", a.Request.Method, a.Header)
					}
				}
				if g, h := get.Header.Get("Content-Encoding"), head.Header.Get("Content-Encoding"); g != h {
					t.Errorf("coding %q, by HEAD %q", g, h)
				}
				if length := head.Header.Get("Content-Length"); length != "" && length != fmt.Sprint(len(get.body)) {
					t.Errorf("%d bytes, by HEAD %s", len(get.body), length)
				}
			})
		}
	}
}

// A coding that is refused by name is refused, whatever is said of all others.
func TestACallerGetsNoCodingThatItRefuses(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed("{}"))
	}))
	for accept, want := range map[string]string{
		"*;q=0.5, gzip;q=0": "", "gzip;q=0, *": "", "*;q=0, gzip": "gzip", "*": "gzip", "*;q=0": "", "br, *;q=0.1": "gzip",
	} {
		if got := c.get("/contoso/api/data/v9.2/x", "Accept-Encoding: "+accept).Header.Get("Content-Encoding"); got != want {
			t.Errorf("to %s: %q", accept, got)
		}
	}
}
