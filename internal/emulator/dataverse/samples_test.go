package dataverse_test

import (
	"strings"
	"testing"
)

// The forms in which Microsoft's documentation and its clients write requests,
// character for character but for the ids.
func TestDocumentedRequests(t *testing.T) {
	s := newSite(t)
	account := s.make("accounts", `{"name":"Sample"}`)
	contact := s.make("contacts", `{"lastname":"Sample"}`)
	task := s.make("tasks", `{"subject":"Sample","regardingobjectid_account_task@odata.bind":"/accounts(`+account+`)"}`)
	record := "accounts(" + account + ")"
	for _, sample := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "contacts?$select=fullname", "", 200, `{"@odata.context":"` + orgRoot + `$metadata#contacts(fullname)","value":[{"@odata.etag":"W/\"`},
		{"GET", record + "/Account_Tasks/$ref", "", 200, `{"@odata.context":"` + orgRoot + `$metadata#Collection($ref)","value":[{"@odata.id":"` + orgRoot + `tasks(` + task + `)"}]}`},
		{"POST", record + "/contact_customer_accounts/$ref", `{ "@odata.id": "` + orgRoot + `contacts(` + contact + `)" }`, 204, ""},
		{"PUT", record + "/primarycontactid/$ref", `{ "@odata.id": "contacts(` + contact + `)" }`, 204, ""},
		{"GET", record + "?$select=name&$expand=primarycontactid/$ref", "", 200, `"primarycontactid":{"@odata.id":"` + orgRoot + `contacts(` + contact + `)"}`},
		{"GET", record + "?$select=name&$expand=Account_Tasks($select=subject;$top=5)", "", 200, `"Account_Tasks":[{"@odata.etag":`},
		{"DELETE", record + "/contact_customer_accounts/$ref?$id=" + orgRoot + "contacts(" + contact + ")", "", 204, ""},
		{"PATCH", record, `{"parentaccountid@odata.bind":"` + record + `"}`, 204, ""},
		{"GET", "accounts/$count", "", 200, "\ufeff"},
		{"GET", "accounts?$select=name,_primarycontactid_value&$filter=accountid%20eq%20" + account, "", 200, `"_primarycontactid_value":"` + contact + `"`},
		{"GET", "WhoAmI", "", 200, `"OrganizationId":"` + organizationID + `"`},
	} {
		got := s.api(sample.status, sample.method, sample.path, sample.body, "Accept: application/json", "OData-MaxVersion: 4.0", "OData-Version: 4.0", "If-None-Match: null")
		got.contains(t, sample.want)
	}
	if got := s.get("tasks(" + task + ")?$expand=regardingobjectid_account_task($select=name)"); got["regardingobjectid_account_task"].(map[string]any)["name"] != "Sample" {
		t.Errorf("what the task is about: %v", got)
	}
}

// A batch as .NET's HttpMessageContent writes it: path and query in the request
// line, an inner Host, a quoted boundary and a true Content-Length.
func TestBatchOfDotNet(t *testing.T) {
	s := newSite(t)
	body := strings.ReplaceAll(`--batch_80dd1615-2a10-428a-bb6f-0e559792721f
Content-Type: multipart/mixed; boundary="changeset_64cc3fff-023a-45b0-b29d-df21583ffa15"

--changeset_64cc3fff-023a-45b0-b29d-df21583ffa15
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: 1
Content-Length: 436

POST /api/data/v9.2/tasks HTTP/1.1
Host: contoso.crm.dynamics.com
Content-Type: application/json; type=entry
Content-Length: 28

{"subject":"Task in batch 1"}
--changeset_64cc3fff-023a-45b0-b29d-df21583ffa15--

--batch_80dd1615-2a10-428a-bb6f-0e559792721f
Content-Type: application/http
Content-Transfer-Encoding: binary

GET /api/data/v9.2/tasks?$select=subject&$filter=startswith(subject,'Task%20in%20batch') HTTP/1.1
Host: contoso.crm.dynamics.com

--batch_80dd1615-2a10-428a-bb6f-0e559792721f--
`, "\n", "\r\n")
	kind := `Content-Type: multipart/mixed; boundary="batch_80dd1615-2a10-428a-bb6f-0e559792721f"`
	if got := s.send("POST", "/api/data/v9.2/$batch", body, kind); got.status != 400 {
		t.Errorf("a Content-Length that is one short is taken: %s", got.body)
	}
	got := s.api(200, "POST", "$batch", strings.Replace(body, "Content-Length: 28", "Content-Length: 29", 1), kind)
	if statuses(got) != "204 200" || strings.Count(got.body, "Task in batch 1") != 1 {
		t.Errorf("statuses %s in\n%s", statuses(got), got.body)
	}
}

// Text that looks like the organization's own addresses or like control
// information is data and comes back byte for byte.
func TestDataIsNotTouched(t *testing.T) {
	s := newSite(t)
	for _, text := range []string{
		`<img src="https://contoso.crm11.dynamics.com/api/data/v9.0/msdyn_richtextfiles(1)/msdyn_imageblob/$value?size=full">`,
		orgRoot + "accounts", `{"@odata.nextLink":"` + orgRoot + `accounts?$skiptoken=1"}`, `"@odata.id":"` + orgRoot + `"`,
		"tab\tline\r\nbell\u0007 backslash \\ slash / \u2028 é 💶 </script>",
	} {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`, "\r", `\r`, "\n", `\n`, "\u0007", `\u0007`).Replace(text)
		id := s.make("accounts", `{"sample_richtext":"`+quoted+`"}`)
		got := s.api(200, "GET", "accounts("+id+")?$select=sample_richtext", "")
		got.contains(t, `"sample_richtext":"`+quoted+`"`)
		if back := got.json(t)["sample_richtext"]; back != text {
			t.Errorf("%q came back as %q", text, back)
		}
		if raw := s.api(200, "GET", "accounts("+id+")/sample_richtext/$value", ""); raw.body != text {
			t.Errorf("%q came back raw as %q", text, raw.body)
		}
	}
	s.api(200, "GET", "accounts?$select=description", "").contains(t, `"description":"{\"@odata.nextLink\":\"https://contoso.crm.dynamics.com/api/data/v9.2/accounts?$skiptoken=1\"}"`)
}
