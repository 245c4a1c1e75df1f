package odata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"testing"
)

// judgedPart is a request as it was shown to judge.
type judgedPart struct {
	method, target string
	header         textproto.MIMEHeader
}

// twoParsers sends a batch through BatchRequest and gives what goes out to ODataLib's reader. Unless the batch is refused,
// every request that ODataLib reads there was judged, in the same order with the same words, and has the body that it has
// in what came in. ODataLib may give up earlier, but never see more.
func twoParsers(t *testing.T, boundary, in string) (refused error) {
	t.Helper()
	var judged []judgedPart
	var dst bytes.Buffer
	err := contoso().BatchRequest(&dst, strings.NewReader(in), boundary, func(p *Part) error {
		judged = append(judged, judgedPart{p.Method, p.Target, p.Header})
		return nil
	})
	if err != nil {
		if be := (*batchError)(nil); !errors.As(err, &be) {
			t.Fatalf("%q: %v", in, err)
		}
		return err
	}
	out := dst.String()
	came, cameErr := libBatch(in, boundary)
	goes, goesErr := libBatch(out, boundary)
	// Headers beside a request do not go out; ODataLib may have found fault with them.
	if cameErr == nil && (len(came) != len(goes) || goesErr != nil) || len(came) > len(goes) {
		t.Fatalf("ODataLib reads %d parts (%v) in\n%q\nand %d (%v) in what goes out\n%q", len(came), cameErr, in, len(goes), goesErr, out)
	}
	if len(goes) > len(judged) || goesErr == nil && len(goes) != len(judged) {
		t.Fatalf("ODataLib reads %d parts (%v), and %d were judged, in\n%q", len(goes), goesErr, len(judged), out)
	}
	for i, lib := range goes {
		if err := sameAsJudged(lib, judged[i]); err != nil {
			t.Fatalf("part %d of\n%q\n%v", i+1, out, err)
		}
		if i == len(came) {
			return nil
		}
		body, want := lib.body, came[i].body
		if _, ok := lib.header["content-length"]; ok && goesErr == nil {
			body, want = strings.TrimRight(body, "\r\n"), strings.TrimRight(want, "\r\n")
		}
		if mapped, err := io.ReadAll(contoso().RequestBody(strings.NewReader(want))); err != nil || body != want && body != string(mapped) {
			t.Fatalf("part %d of\n%q\nhas the body\n%q\nand goes with\n%q", i+1, in, want, body)
		}
	}
	return nil
}

func sameAsJudged(lib libPart, judged judgedPart) error {
	if lib.method != judged.method || !strings.HasSuffix(lib.uri, judged.target) && contoso().Org+lib.uri != judged.target && lib.uri+"/" != contoso().Org+judged.target && !strings.HasPrefix(judged.target, "/?") && !strings.HasPrefix(judged.target, "/#") {
		return fmt.Errorf("ODataLib reads %s %s, and %s %s was judged", lib.method, lib.uri, judged.method, judged.target)
	}
	for name, value := range lib.header {
		if name == "host" || name == "content-length" {
			continue
		}
		values := judged.header[textproto.CanonicalMIMEHeaderKey(name)]
		if len(values) != 1 || strings.TrimSpace(values[0]) != value {
			return fmt.Errorf("ODataLib reads %s: %q, and %q was judged", name, value, values)
		}
	}
	return nil
}

const plainPart = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"

const hiddenDelete = plainPart + "DELETE /api/data/v9.2/accounts(1) HTTP/1.1\r\n\r\n"

// tricks are batches in which ODataLib finds a part, or a body, that a reader of lines does not.
var tricks = map[string]string{
	"behind text":                        "x--b\r\n" + hiddenDelete + "--b--\r\n",
	"behind a byte order mark":           "\xef\xbb\xbf--b\r\n" + hiddenDelete + "--b--\r\n",
	"behind words, then plain":           "words --b\r\n" + hiddenDelete + "--b\r\n" + plainPart + "GET /x HTTP/1.1\r\n\r\n\r\n--b--\r\n",
	"behind JSON":                        "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{\"name\":\"a\"}--b\r\n" + hiddenDelete + "--b--\r\n",
	"behind a blank":                     "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n --b\r\n" + hiddenDelete + "--b--\r\n",
	"behind dashes":                      "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n---b\r\n" + hiddenDelete + "--b--\r\n",
	"behind a lone CR":                   "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{}\r--b\r" + strings.ReplaceAll(hiddenDelete, "\r\n", "\r") + "--b--\r\n",
	"ended by a lone CR":                 "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{}\r\n--b\rContent-Type: application/http\r\n\r\n--b--\r\n",
	"ended by a form feed":               "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{}\r\n--b\f\r\n" + hiddenDelete + "--b--\r\n",
	"ended by a no-break space":          "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{}\r\n--b\xa0\r\n" + hiddenDelete + "--b--\r\n",
	"in a change set":                    "--b\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\n--cs\r\n" + plainPart + "POST /x HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"name\":\"a\"}--cs\r\n" + hiddenDelete + "--cs--\r\n--b--\r\n",
	"the batch's within a change set":    "--b\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\n--cs\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n{\"name\":\"a\"}--b\r\n" + hiddenDelete + "--cs--\r\n--b--\r\n",
	"in a change set's preamble":         "--b\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\nx--cs\r\n" + hiddenDelete + "--cs--\r\n--b--\r\n",
	"change set by RFC 2231":             "--b\r\nContent-Type: multipart/mixed; boundary*=utf-8''cs; boundary=d\r\n\r\n--d\r\n" + hiddenDelete + "--d--\r\n--b--\r\n",
	"change set's boundary escaped":      "--b\r\nContent-Type: multipart/mixed; boundary=\"c\\s\"\r\n\r\n--cs\r\n" + hiddenDelete + "--cs--\r\n--b--\r\n",
	"change set's boundary with a blank": "--b\r\nContent-Type: multipart/mixed; boundary=\"cs \"\r\n\r\n--cs \r\n" + hiddenDelete + "--cs --\r\n--b--\r\n",
	"hidden by a length":                 "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n{}\r\n--b\r\n" + hiddenDelete + "--b--\r\n",
	"in the epilogue":                    "--b--\r\nx--b\r\n" + hiddenDelete + "--b--\r\n",
	"a header of lone CRs":               "--b\r\n" + plainPart + "GET /x HTTP/1.1\r\nA: b\rX-HTTP-Method: DELETE\r\n\r\n\r\n--b--\r\n",
	"a head that ends twice":             "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\nA: b\r\n\r\r\nX-HTTP-Method: DELETE\r\n\r\n--b--\r\n",
	"a part's type that only begins so":  "--b\r\nContent-Type: multipart/mixedx; boundary=cs\r\n\r\n--cs\r\n" + hiddenDelete + "--cs--\r\n--b--\r\n",
}

func TestTricksOfDelimitersAreRefused(t *testing.T) {
	for name, in := range tricks {
		t.Run(name, func(t *testing.T) {
			if err := twoParsers(t, "b", in); err == nil {
				t.Errorf("accepted %q", in)
			}
		})
	}
}

// TestADelimiterIsFoundAtEveryEdge puts a delimiter within a line, of a body or of the preamble, at every place near the
// edges of the buffers.
func TestADelimiterIsFoundAtEveryEdge(t *testing.T) {
	for _, head := range []string{"--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n", ""} {
		for _, edge := range []int{window, 2*window - 2*longestBoundary, 2 * window, 4*window - 4*longestBoundary, 4 * window, 8000, 16000} {
			for n := edge - 12; n < edge+12; n++ {
				line := head + strings.Repeat("x", n-len(head))
				for _, before := range []string{"x", "\r", "x\r"} {
					for _, blanks := range []int{0, 3 * longestBoundary} {
						if err := twoParsers(t, "b", line+before+"--b"+strings.Repeat(" ", blanks)+"\r\n"+hiddenDelete+"--b--\r\n"); err == nil {
							t.Fatalf("behind %d bytes and %q, before %d blanks: accepted", n, before, blanks)
						}
					}
				}
				if err := twoParsers(t, "b", line+"\r\n--b\r\n"+hiddenDelete+"--b--\r\n"); err != nil {
					t.Fatalf("a delimiter of its own line behind %d bytes: %v", n, err)
				}
			}
		}
	}
}

// TestLinesOfEveryLength has lines at the edges of all buffers and bounds in every place of a batch.
func TestLinesOfEveryLength(t *testing.T) {
	places := map[string]string{
		"request line": "--b\r\n" + plainPart + "GET /x?%s HTTP/1.1\r\n\r\n\r\n--b--\r\n",
		"header":       "--b\r\n" + plainPart + "GET /x HTTP/1.1\r\nA: %s\r\n\r\n\r\n--b--\r\n",
		"part header":  "--b\r\nContent-Id: %s\r\n" + plainPart + "GET /x HTTP/1.1\r\n\r\n\r\n--b--\r\n",
		"body":         "--b\r\n" + plainPart + "POST /x HTTP/1.1\r\n\r\n%s\r\n--b--\r\n",
		"preamble":     "%s\r\n--b\r\n" + plainPart + "GET /x HTTP/1.1\r\n\r\n\r\n--b--\r\n",
		"epilogue":     "--b\r\n" + plainPart + "GET /x HTTP/1.1\r\n\r\n\r\n--b--\r\n%s",
	}
	for place, form := range places {
		t.Run(place, func(t *testing.T) {
			for _, edge := range []int{2000, 8000, window, 2*window - 2*longestBoundary, 2 * window, 4*window - 4*longestBoundary, longestHeader} {
				for n := edge - 40; n < edge+8; n += 3 {
					in := fmt.Sprintf(form, strings.Repeat("x", n))
					err := twoParsers(t, "b", in)
					_, _, slow := sentInPieces(in)
					head := !strings.Contains("body preamble epilogue", place)
					if n < longestHeader-200 && err != nil || n > longestHeader && head && err == nil || !head && err != nil || (slow == nil) != (err == nil) {
						t.Fatalf("%d bytes: %v, in pieces %v", n, err, slow)
					}
				}
			}
		})
	}
}

func sentInPieces(in string) (string, int, error) {
	var dst bytes.Buffer
	n := 0
	err := contoso().BatchRequest(&dst, &pieces{rest: in, step: len(in)}, "b", func(*Part) error { n++; return nil })
	return dst.String(), n, err
}

func TestABatchWithoutItsEndIsJudgedToItsLastPart(t *testing.T) {
	whole := "--b\r\n" + plainPart + "GET /x HTTP/1.1\r\n\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\n--cs\r\n" + plainPart + "PATCH /y HTTP/1.1\r\nA: b\r\n\r\n{}"
	for _, end := range []string{"", "\r\n", "\r\n--cs--", "\r\n--cs--\r\n", "\r\n--b--", "\r\n--cs--\r\n--b--"} {
		out, judged, err := sent(t, "b", whole+end)
		if err != nil || fmt.Sprint(judged) != "[GET /x PATCH /y]" || out != whole+end {
			t.Errorf("with the end %q: judged %q, %v, sent %q", end, judged, err, out)
		}
		twoParsers(t, "b", whole+end)
	}
	head := "--b\r\n" + plainPart + "DELETE /x HTTP/1.1"
	for _, end := range []string{"", "\r\n", "\r\nA: b", "\r\nA: b\r\n", "\r\n\r\n"} {
		if _, judged, err := sent(t, "b", head+end); err != nil || len(judged) != 1 {
			t.Errorf("breaking off with %q: judged %q, %v", end, judged, err)
		}
		if parts, err := libBatch(head+end, "b"); err != nil || len(parts) != 1 {
			t.Errorf("ODataLib reads %q of %q: %v", parts, end, err)
		}
	}
}

func FuzzTwoParsers(f *testing.F) {
	f.Add("b", crlf(batchIn))
	f.Add("b", batchIn)
	for _, in := range tricks {
		f.Add("b", in)
		f.Add("b", strings.ReplaceAll(in, "\r\n", "\n"))
	}
	f.Add("-", "---\r\n"+hiddenDelete+"-----\r\n")
	f.Add("a:b", "--a:b\r\n"+plainPart+"POST /x HTTP/1.1\r\n--a:b\r\n"+hiddenDelete+"--a:b--")
	f.Add("b", "--b\r\n"+plainPart+"POST /x HTTP/1.1\r\n\r\n"+strings.Repeat("-", 8100)+"\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, boundary, in string) {
		if checkBoundary(boundary) == nil {
			twoParsers(t, boundary, in)
		}
	})
}

// TestTwoParsersAgreeOnRandomBatches puts the words of batches together at random.
func TestTwoParsersAgreeOnRandomBatches(t *testing.T) {
	words := []string{
		"--b\r\n", "--b\n", "--b--\r\n", "--b--", "--b", "--cs\r\n", "--cs--\r\n", "x", "-", "\r", "\n", "\r\n", " ", "\t", "\xa0", "{}", "--",
		plainPart, plainPart + "GET /x HTTP/1.1\r\n\r\n", plainPart + "POST /x HTTP/1.1\r\n\r\n{}\r\n", hiddenDelete,
		"Content-Type: multipart/mixed; boundary=cs\r\n\r\n", "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n", "Content-Length: 2\r\n", "A: b\r\n", "POST /x HTTP/1.1\r\n",
		plainPart + "POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\r\n", strings.Repeat("x", 7990), strings.Repeat(" ", 300),
	}
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 20000 {
		var in strings.Builder
		in.WriteString("--b\r\n")
		for range random.IntN(9) + 1 {
			in.WriteString(words[random.IntN(len(words))])
		}
		if twoParsers(t, "b", in.String()) == nil {
			accepted++
		}
	}
	if accepted < 500 {
		t.Errorf("only %d of 20,000 were accepted", accepted)
	}
}
