package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

// token is of the size of Entra ID's.
var token = strings.Repeat("0123456789abcdef", 100)

// newOrganization makes all that it will ever say.
func newOrganization(base string) *organization {
	o := &organization{base: base, answers: make(map[string][]byte), sums: map[string]bool{"accounts": true, "$batch": true}, released: make(chan struct{})}
	const kind = "Content-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0\r\n"
	small, page, large := rows(base, 1), rows(base, 60), rows(base, 5000)
	o.answers["small"] = withLength("200 OK", kind, small)
	o.answers["once"] = withLength("200 OK", kind+"Connection: close\r\n", small)
	o.answers["page"] = withLength("200 OK", kind, page)
	o.answers["page-chunked"] = inChunks(kind, page)
	o.answers["large"] = withLength("200 OK", kind, large)
	o.answers["large-chunked"] = inChunks(kind, large)
	o.answers["large-gzip"] = o.answers["large"]
	o.answers["large-gzip packed"] = withLength("200 OK", kind+"Content-Encoding: gzip\r\n", pack(large))
	o.answers["accounts"] = []byte("HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\nLocation: " + base + "/api/data/v9.2/accounts(1)\r\n\r\n")
	o.answers["$batch"] = inChunks("Content-Type: multipart/mixed; boundary=batchresponse_1\r\nOData-Version: 4.0\r\n", batchAnswer(base))
	return o
}

func withLength(status, header string, body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n", status, header, len(body)), body...)
}

func inChunks(header string, body []byte) []byte {
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n", header)
	for len(body) > 0 {
		n := min(len(body), 8<<10)
		answer = fmt.Appendf(answer, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return append(answer, "0\r\n\r\n"...)
}

// rows is a page of JSON with n rows of 1 KB, each with a link.
func rows(base string, n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"@odata.context":"%s/api/data/v9.2/$metadata#accounts","value":[`, base)
	text := strings.Repeat(`text that a customer wrote, with \"quotes\"; `, 16)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"@odata.etag":"W/\"%d\"","accountid":"%08x-0000-4000-8000-000000000000","name":"Account %d","description":"%s","contacts@odata.nextLink":"%s/api/data/v9.2/accounts(%08x)/contacts"}`,
			1000000+i, i, i, text, base, i)
	}
	b.WriteString("]}")
	return b.Bytes()
}

const batchSize = 100

// batchAnswer has a part of 1 KB for each request.
func batchAnswer(base string) []byte {
	var b bytes.Buffer
	row := rows(base, 1)
	for range batchSize {
		fmt.Fprintf(&b, "--batchresponse_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"+
			"HTTP/1.1 200 OK\r\nContent-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0\r\n\r\n%s\r\n", row)
	}
	b.WriteString("--batchresponse_1--\r\n")
	return b.Bytes()
}

func batchRequest() []byte {
	var b bytes.Buffer
	for i := range batchSize {
		fmt.Fprintf(&b, "--batch_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET accounts(%08x-0000-4000-8000-000000000000)?$select=name HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n", i)
	}
	b.WriteString("--batch_1--\r\n")
	return b.Bytes()
}

func pack(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}
