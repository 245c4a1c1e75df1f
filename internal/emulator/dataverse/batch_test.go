package dataverse_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const batchType = "Content-Type: multipart/mixed; boundary=batch_1"

// item is one request of a batch, as a part with CRLF line ends.
func item(request string, contentID ...string) string {
	id := ""
	if len(contentID) > 0 {
		id = "Content-ID: " + contentID[0] + "\r\n"
	}
	if !strings.Contains(request, "\n\n") {
		request += "\n\n"
	}
	return "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n" + id + "\r\n" + strings.ReplaceAll(request, "\n", "\r\n") + "\r\n"
}

func multipart(boundary string, items ...string) string {
	out := ""
	for _, i := range items {
		out += "--" + boundary + "\r\n" + i
	}
	return out + "--" + boundary + "--\r\n"
}

func changeSet(items ...string) string {
	return "Content-Type: multipart/mixed; boundary=\"changeset_1\"\r\n\r\n" + multipart("changeset_1", items...)
}

// statuses lists the inner status lines of a batch's answer.
func statuses(r reply) string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^HTTP/1\.1 (\d+) `).FindAllStringSubmatch(r.body, -1) {
		out = append(out, m[1])
	}
	return strings.Join(out, " ")
}

func TestBatchFormsOfRequestLines(t *testing.T) {
	s := newSite(t)
	body := multipart("batch_1",
		item("GET "+orgRoot+"accounts?$select=name&$top=1 HTTP/1.1\nAccept: application/json\n\n"),
		item("GET /api/data/v9.1/accounts?$select=name&$top=1 HTTP/1.1\nHost: "+orgHost+"\n\n"),
		item("GET accounts?$filter=name eq 'Contoso Retail'&$select=name HTTP/1.1"),
		changeSet(item("POST /api/data/v9.2/accounts HTTP/1.1\nContent-Type: application/json\n\n{\"name\":\"set\"}", "1"),
			item("PUT $1/primarycontactid/$ref HTTP/1.1\nContent-Type: application/json\n\n{\"@odata.id\":\"$2\"}", "3"),
			item("PATCH $1 HTTP/1.1\nContent-Type: application/json\n\n{\"name\":\"set, then changed\"}", "4")))
	// The contact must exist before the reference to it.
	body = strings.Replace(body, "--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 3",
		"--changeset_1\r\n"+item("POST contacts HTTP/1.1\nContent-Type: application/json\n\n{\"lastname\":\"by reference\",\"parentcustomerid_account@odata.bind\":\"$1\"}", "2")+
			"--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 3", 1)
	for _, ends := range []string{"\r\n", "\n"} {
		for _, kind := range []string{batchType, `Content-Type: multipart/mixed;boundary="batch_1"`} {
			s := newSite(t)
			got := s.api(200, "POST", "$batch", strings.ReplaceAll(body, "\r\n", ends), kind)
			if statuses(got) != "200 200 200 204 204 204 204" {
				t.Fatalf("%q: statuses %s\n%s", ends, statuses(got), got.body)
			}
			got.contains(t, `"@odata.context":"https://`+orgHost+`/api/data/v9.1/$metadata#accounts(name)"`, "Content-ID: 4\r\n", "\r\nOData-EntityId: "+orgRoot+"accounts(",
				"Content-Type: application/json; odata.metadata=minimal; odata.streaming=true\r\n", "REQ_ID: ")
			list := rows(t, s.get("accounts?$filter=startswith(name,'set')&$expand=primarycontactid($select=lastname,_parentcustomerid_value)"))
			contact, _ := list[0]["primarycontactid"].(map[string]any)
			if len(list) != 1 || list[0]["name"] != "set, then changed" || contact["_parentcustomerid_value"] != list[0]["accountid"] {
				t.Errorf("after the change set: %v", list)
			}
		}
	}
	if !strings.HasPrefix(s.api(200, "POST", "$batch", body, batchType).body, "--batchresponse_") {
		t.Error("the answer does not begin with its boundary")
	}
}

func TestChangeSetIsAtomic(t *testing.T) {
	s := newSite(t)
	before := s.api(200, "GET", "accounts?$expand=contact_customer_accounts($select=fullname),Account_Tasks($select=subject)", "").body
	victim := rows(t, s.get("accounts?$select=name&$top=1"))[0]["accountid"].(string)
	user := s.get("WhoAmI")["UserId"].(string)
	role := rows(t, s.get("roles?$filter=name%20eq%20'Delegate'"))[0]["roleid"].(string)
	body := multipart("batch_1", changeSet(
		item("POST accounts HTTP/1.1\n\n{\"name\":\"never\"}", "1"),
		item("PATCH accounts("+victim+") HTTP/1.1\n\n{\"name\":\"never\"}", "2"),
		item("DELETE accounts("+victim+") HTTP/1.1", "3"),
		item("POST systemusers("+user+")/systemuserroles_association/$ref HTTP/1.1\n\n{\"@odata.id\":\"roles("+role+")\"}", "4"),
		item("POST accounts HTTP/1.1\n\n{\"nope\":1}", "5")),
		item("GET accounts?$top=1 HTTP/1.1"))
	got := s.api(400, "POST", "$batch", body, batchType)
	if statuses(got) != "400" || !strings.Contains(got.body, "Content-ID: 5\r\n") {
		t.Errorf("the answer to a failed change set: %s", got.body)
	}
	if after := s.api(200, "GET", "accounts?$expand=contact_customer_accounts($select=fullname),Account_Tasks($select=subject)", "").body; after != before {
		t.Error("a failed change set left something behind")
	}
	if n := len(rows(t, s.get("roles("+role+")/systemuserroles_association"))); n != 0 {
		t.Errorf("a failed change set left %d links behind", n)
	}
	goOn := s.api(200, "POST", "$batch", body, batchType, "Prefer: odata.continue-on-error")
	if statuses(goOn) != "400 200" {
		t.Errorf("with continue-on-error: %s", statuses(goOn))
	}
}

func TestBatchStopsAtAnError(t *testing.T) {
	s := newSite(t)
	body := multipart("batch_1", item("GET accounts?$top=1 HTTP/1.1"), item("GET nope HTTP/1.1"), item("GET contacts?$top=1 HTTP/1.1"))
	if got := s.api(400, "POST", "$batch", body, batchType); statuses(got) != "200 404" || !strings.HasPrefix(got.header.Get("Content-Type"), "multipart/mixed; boundary=batchresponse_") {
		t.Errorf("statuses %s, %v", statuses(got), got.header)
	}
	if got := s.api(200, "POST", "$batch", body, batchType, "Prefer: odata.continue-on-error"); statuses(got) != "200 404 200" {
		t.Errorf("with continue-on-error: %s", statuses(got))
	}
}

func TestBatchContentLength(t *testing.T) {
	s := newSite(t)
	send := func(length int, trailer string) reply {
		inner := fmt.Sprintf("POST accounts HTTP/1.1\nContent-Type: application/json\nContent-Length: %d\n\n{\"name\":\"abc\"}%s", length, trailer)
		return s.send("POST", "/api/data/v9.2/$batch", multipart("batch_1", item(inner)), batchType)
	}
	for _, trailer := range []string{"", "\n", "\n\n"} {
		if got := send(14, trailer); got.status != 200 {
			t.Errorf("a true length is refused: %s", got.body)
		}
	}
	for _, length := range []int{13, 17, 100, -1, 0} {
		if got := send(length, ""); got.status != 400 {
			t.Errorf("length %d: status %d", length, got.status)
		}
	}
}

func TestBatchRefused(t *testing.T) {
	s := newSite(t)
	get := item("GET accounts?$top=1 HTTP/1.1")
	for what, body := range map[string]string{
		"foreign address":       multipart("batch_1", item("GET http://proxy:8080/contoso/api/data/v9.2/accounts HTTP/1.1")),
		"foreign organization":  multipart("batch_1", item("GET https://fabrikam.crm.dynamics.com/api/data/v9.2/accounts HTTP/1.1")),
		"foreign host":          multipart("batch_1", item("GET /api/data/v9.2/accounts HTTP/1.1\nHost: proxy:8080\n\n")),
		"prefixed path":         multipart("batch_1", item("GET /contoso/api/data/v9.2/accounts HTTP/1.1")),
		"nested batch":          multipart("batch_1", item("POST /api/data/v9.2/$batch HTTP/1.1")),
		"another boundary":      multipart("batch_2", get),
		"empty":                 multipart("batch_1"),
		"malformed line":        multipart("batch_1", item("accounts")),
		"malformed header":      multipart("batch_1", item("GET accounts HTTP/1.1\nnope\n\n")),
		"reading in change set": multipart("batch_1", changeSet(get)),
		"nested change set":     multipart("batch_1", changeSet(changeSet(get))),
		"no end of the header":  "--batch_1\r\nContent-Type: application/http\r\n\r\nGET accounts HTTP/1.1\r\n--batch_1--\r\n",
		"a header twice":        multipart("batch_1", item("GET accounts HTTP/1.1\nPrefer: a\nPrefer: b\n\n")),
		"long white space":      "--batch_1" + strings.Repeat(" ", 8000) + "\r\n" + get,
		"too many":              multipart("batch_1", strings.Split(strings.Repeat(get+"|", 1001)+get, "|")...),
		"wrong type":            "--batch_1\r\nContent-Type: text/plain\r\n\r\nGET accounts HTTP/1.1\r\n--batch_1--",
	} {
		if got := s.send("POST", "/api/data/v9.2/$batch", body, batchType); got.status != 400 || got.errorCode(t) == "" {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	s.api(400, "POST", "$batch", multipart("batch_1", get), "Content-Type: application/json")
	s.api(405, "GET", "$batch", "")
	unknown := multipart("batch_1", changeSet(item("PATCH $9 HTTP/1.1\n\n{}", "1")))
	s.api(400, "POST", "$batch", unknown, batchType).contains(t, "Content-ID Reference")
}

// TestDelimitersAsODataLibFindsThem holds the cases in which the real reader
// sees other parts than a reader of RFC 2046 does.
func TestDelimitersAsODataLibFindsThem(t *testing.T) {
	create := func(name string) string {
		return item("POST accounts HTTP/1.1\nContent-Type: application/json\n\n{\"name\":\"" + name + "\"}")
	}
	set := func(body string) string {
		return "--batch_1\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\n" + body
	}
	for name, c := range map[string]struct{ body, want string }{
		"in the middle of a line":          {"x" + multipart("batch_1", create("a")), "204"},
		"behind words and other lines":     {"words\r\nmore --batch_1\r\n" + create("a") + "--batch_1--\r\n", "204"},
		"behind a byte order mark":         {"\ufeff" + multipart("batch_1", create("a")), "204"},
		"behind other dashes":              {"-" + multipart("batch_1", create("a")), "204"},
		"behind a body":                    {strings.Replace(multipart("batch_1", create("a"), create("b")), "}\r\n--batch_1", "}--batch_1", 1), "204 204"},
		"behind a change set's body":       {set(strings.Replace(multipart("cs", create("a"), create("b")), "}\r\n--cs", "}--cs", 1)) + "--batch_1--", "204 204"},
		"no closing one":                   {"--batch_1\r\n" + create("a"), "204"},
		"no line end behind the closing":   {strings.TrimSuffix(multipart("batch_1", create("a")), "\r\n"), "204"},
		"no closing one of the change set": {set("--cs\r\n" + create("a") + "--batch_1\r\n" + create("b") + "--batch_1--"), "204 204"},
		"neither closing one":              {set("--cs\r\n" + create("a")), "204"},
		"behind the change set's end":      {set(multipart("cs", create("a")) + "epilogue--batch_1\r\n" + create("b")), "204 204"},
		"CR alone":                         {strings.ReplaceAll(multipart("batch_1", create("a")), "\r\n", "\r"), "204"},
		"white space behind":               {strings.ReplaceAll(multipart("batch_1", create("a")), "--batch_1\r", "--batch_1 \t\r"), "204"},
		"nothing after the closing one":    {multipart("batch_1", create("a")) + multipart("batch_1", create("b")), "204"},
		"none in what Content-Length says": {"--batch_1\r\n" + item("POST accounts HTTP/1.1\nContent-Type: application/json\nContent-Length: 29\n\n{\"name\":\"a\"    \n--batch_1\n}") + "--batch_1--", "400"},
		"longer words that begin alike":    {multipart("batch_1", create("a--batch_12")), "204"},
	} {
		s := newSite(t)
		if got := s.send("POST", "/api/data/v9.2/$batch", c.body, batchType, "Prefer: odata.continue-on-error"); statuses(got) != c.want {
			t.Errorf("%s: statuses %q, want %q, of %d %s", name, statuses(got), c.want, got.status, got.body)
		}
	}
}

// TestAPartsEndOfLine tells which line end belongs to a delimiter.
func TestAPartsEndOfLine(t *testing.T) {
	s := newSite(t)
	id := s.make("accounts", `{"name":"a"}`)
	for _, ends := range []string{"", "\n", "\r", "\r\n"} {
		body := "--batch_1\nContent-Type: application/http\n\nPUT accounts(" + id + ")/name HTTP/1.1\nContent-Type: application/json\n\n{\"value\":\"" + "b\"}" + ends + "--batch_1--\n"
		if got := s.api(200, "POST", "$batch", body, batchType); statuses(got) != "204" {
			t.Errorf("%q: %s", ends, got.body)
		}
	}
}
