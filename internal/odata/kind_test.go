package odata

import (
	"mime"
	"net/http"
	"strings"
	"testing"
)

func TestABodyIsWhatItIsHoweverItIsCalled(t *testing.T) {
	tests := []struct {
		header string // names and values, separated by '|'
		first  string
		want   Kind
	}{
		{"Content-Type|application/json", "", JSON},
		{"Content-Type|application/json; odata.metadata=minimal; odata.streaming=true", "", JSON},
		{"Content-Type|application/json; charset=utf-8; Charset=UTF-8", "", JSON},
		{"Content-Type|application/json;;charset", "", JSON},
		{"Content-Type| Application/JSON ;charset=\"UTF-8\"", "", JSON},
		{"Content-Type|application/json charset=utf-8", "", Opaque},
		{"Content-Type|text/json", "", JSON},
		{"Content-Type|application/problem+json", "", JSON},
		{"Content-Type|application/merge-patch+json;x", "", JSON},
		{"Content-Type|application/json, application/json", "", JSON},
		{"Content-Type|application/json; charset=iso-8859-1", "", JSON},
		{"Content-Type|application/json; charset=utf-16", "", WideJSON},
		{"Content-Type|application/json; charset=utf-8; charset=\"Unicode\"", "", WideJSON},
		{"Content-Type|application/json", "\xff\xfe{\x00", WideJSON},
		{"Content-Type|application/json", "\x00{\x00\"", WideJSON},
		{"Content-Type|application/json", "{\x00\"\x00", WideJSON},
		{"", `{"a":1}`, JSON},
		{"", "\xef\xbb\xbf \r\n\t[", JSON},
		{"Content-Type|", `{"a":1}`, JSON},
		{"Content-Type||Content-Type|text/json", ``, JSON},
		{"", "{\x00\"\x00", WideJSON},
		{"", "\xff\xfe{\x00", WideJSON},
		{"", "\xfe\xff\x00{", WideJSON},
		{"", "", Opaque},
		{"", "\x1f\x8b\x08", Opaque},
		{"", "PK\x03\x04", Opaque},
		{"", `"text"`, Opaque},
		{"", `<?xml version="1.0"?>`, XML},
		{"", ` <s:Envelope`, XML},
		{"", `<!doctype html>`, Opaque},
		{"", `<html>`, Opaque},
		{"Content-Type|text/xml; charset=utf-8", "", XML},
		{"Content-Type|application/soap+xml", "", XML},
		{"Content-Type|application/xhtml+xml", "", Opaque},
		{"Content-Type|multipart/mixed;boundary=b", "", Batch},
		{"Content-Type|Multipart/Mixed; boundary=b; boundary=c", "", Batch},
		{"Content-Type|application/octet-stream", `{"@odata.id":1}`, Opaque},
		{"Content-Type|text/plain", `{"a":1}`, Opaque},
		{"Content-Type|image/png", `{`, Opaque},
		{"X-Ms-File-Name|a.json", `{`, Opaque},
		{"Content-Type|application/json|X-Ms-Transfer-Mode|chunked", `{`, Opaque},
		{"Content-Type|application/json|Content-Range|bytes 0-1/2", `{`, Opaque},
		{"Content-Type|application/json|Content-Disposition|attachment", `{`, Opaque},
	}
	for _, tt := range tests {
		header := make(http.Header)
		for fields := strings.Split(tt.header, "|"); len(fields) > 1; fields = fields[2:] {
			header.Add(fields[0], fields[1])
		}
		if got := BodyKind(header, []byte(tt.first)); got != tt.want {
			t.Errorf("BodyKind(%v, %q) = %d, want %d", header, tt.first, got, tt.want)
		}
	}
}

func TestFilesAreKnownByTheirAddress(t *testing.T) {
	for asked, want := range map[string]bool{
		"/api/data/v9.2/accounts(1)/new_file/$value": true, "accounts(1)/new_file/%24VALUE/?size=full": true,
		"/api/data/v9.2/accounts(1)/new_file?x-ms-file-name=%C3%A9.json": true, "accounts(1)/new_file?a=b&X-MS-File-Name=a": true,
		"accounts(1)/new_file": false, "accounts(1)?$value": false, "accounts(1)/new_file?a=x-ms-file-name": false, "$value/accounts": false, "": false,
	} {
		path, query, _ := strings.Cut(asked, "?")
		if got := IsFile(path, query); got != want {
			t.Errorf("IsFile(%q) = %t", asked, got)
		}
	}
}

func TestBoundariesThatAllReadersReadAlike(t *testing.T) {
	tests := []struct{ in, want string }{
		{"multipart/mixed;boundary=dwa_batch_1", "dwa_batch_1"},
		{`multipart/mixed; boundary="batch_2"`, "batch_2"},
		{`Multipart/Mixed ; Boundary="c s:1"; charset=utf-8;`, "c s:1"},
		{`multipart/mixed; type="a;b"; boundary=----=`, ""},
		{`multipart/mixed; type="a;b"; boundary="----=_Part_1"`, "----=_Part_1"},
		{"multipart/mixed", ""}, {"multipart/mixed;", ""}, {"multipart/mixed; boundary", ""}, {"multipart/mixed; boundary=", ""},
		{`multipart/mixed; boundary=""`, ""}, {`multipart/mixed; boundary="a`, ""}, {`multipart/mixed; boundary="a\b"`, ""},
		{"multipart/mixed; boundary=a; boundary=b", ""}, {"multipart/mixed; boundary=a; BOUNDARY=a", ""},
		{"multipart/mixed; boundary*=utf-8''a", ""}, {"multipart/mixed; boundary*0=a; boundary*1=b", ""}, {"multipart/mixed; boundary=a; boundary*0=b", ""},
		{`multipart/mixed; boundary="a "`, ""}, {`multipart/mixed; boundary=" a"`, ""}, {"multipart/mixed; boundary=\"\u00e4\"", ""}, {"multipart/mixed; boundary=\u00e4", ""},
		{"multipart/mixed; boundary =a", ""}, {"multipart/mixed; boundary= a", ""}, {"multipart/mixed boundary=a", ""},
		{"multipart/mixed, multipart/mixed; boundary=a", ""}, {"multipart/mixed; boundary=a, multipart/mixed; boundary=b", ""},
		{"multipart/mixedx; boundary=a", ""}, {"multipart/related; boundary=a", ""}, {"", ""},
		{"multipart/mixed; boundary=a; charset=utf-16", ""}, {"multipart/mixed; boundary=a; charset=ibm037", ""},
		{"multipart/mixed; boundary=" + strings.Repeat("x", 201), ""},
	}
	for _, tt := range tests {
		got, err := Boundary(tt.in)
		if err == nil && got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Boundary(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if err == nil {
			if _, params, _ := mime.ParseMediaType(tt.in); params["boundary"] != got {
				t.Errorf("mime reads %q in %q, and Boundary %q", params["boundary"], tt.in, got)
			}
		}
	}
}

func FuzzBoundary(f *testing.F) {
	f.Add(`multipart/mixed; boundary="a\"b"; Boundary=c`)
	f.Add("multipart/mixed;boundary=a;boundary*0=b")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Boundary(in)
		if err != nil {
			return
		}
		if kind, params, err := mime.ParseMediaType(in); err != nil || kind != "multipart/mixed" || params["boundary"] != got {
			t.Errorf("mime reads %s %q (%v) in %q, and Boundary %q", kind, params, err, in, got)
		}
	})
}
