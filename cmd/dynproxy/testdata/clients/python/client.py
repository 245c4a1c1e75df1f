"""Drives the proxy with requests and zeep. Arguments: the proxy's address, a caller's name and key."""
import hashlib
import http.client
import sys

import requests
import zeep
import zeep.transports
from zeep import xsd

proxy, name, key = sys.argv[1:]
base = proxy + "/contoso/api/data/v9.2/"
failed = 0


def check(what, good, *seen):
    global failed
    print("ok  " if good else "FAIL", what, *([] if good else seen))
    failed += not good


s = requests.Session()
s.headers.update({"X-Api-Key": key, "Accept": "application/json", "OData-Version": "4.0"})

# A list, page by page.
url, names, pages = base + "accounts?$select=name", [], 0
while url:
    check("a page's address is the proxy's", url.startswith(base), url)
    page = s.get(url, headers={"Prefer": "odata.maxpagesize=10"}).json()
    names += [row["name"] for row in page["value"]]
    url, pages = page.get("@odata.nextLink"), pages + 1
check("36 accounts on 4 pages", len(names) == len(set(names)) == 36 and pages == 4, len(names), pages)

# Records bound to the proxy's own addresses.
contact = s.post(base + "contacts", json={"lastname": "Python"}).headers["OData-EntityId"]
check("the new record's address is the proxy's", contact.startswith(base), contact)
made = s.post(base + "accounts", json={"name": "requests", "primarycontactid@odata.bind": contact}, headers={"Prefer": "return=representation"})
account = made.headers["OData-EntityId"]
check("bound when made", made.status_code == 201 and made.json()["_primarycontactid_value"] in contact, made.text)
parent = s.put(account + "/parentaccountid/$ref", json={"@odata.id": account})
check("bound by reference", parent.status_code == 204, parent.text)

# Conditional writes.
etag = s.get(account + "?$select=name").json()["@odata.etag"]
check("If-Match that holds", s.patch(account, json={"name": "again"}, headers={"If-Match": etag}).status_code == 204)
stale = s.patch(account, json={"name": "never"}, headers={"If-Match": etag})
check("If-Match that does not hold", stale.status_code == 412 and stale.json()["error"]["code"] == "0x80060882", stale.text)

# A batch with a change set.
batch = "\r\n".join([
    "--b", "Content-Type: multipart/mixed;boundary=c", "",
    "--c", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "Content-ID: 1", "",
    "PATCH " + account + " HTTP/1.1", "Content-Type: application/json", "", '{"name":"in a batch"}',
    "--c--", "",
    "--b", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "",
    "GET " + account + "?$select=name HTTP/1.1", "Accept: application/json", "", "",
    "--b--", ""])
got = s.post(base + "$batch", data=batch, headers={"Content-Type": "multipart/mixed;boundary=b"})
check("a batch", got.status_code == 200 and "HTTP/1.1 204" in got.text and '"name":"in a batch"' in got.text and account in got.text, got.text)

# A file up and down.
content = bytes(i * 7 % 251 for i in range(8 << 20))
up = s.patch(account + "/sample_filecolumn", data=content, headers={"Content-Type": "application/octet-stream", "x-ms-file-name": "f.bin"})
down = s.get(account + "/sample_filecolumn/$value")
check("8 MiB up and down", up.status_code == 204 and hashlib.sha256(down.content).digest() == hashlib.sha256(content).digest(), up.text, len(down.content))

# Refusals are read as what they are, while an upload is under way, too.
big = b"x" * (20 << 20)
for what, send in {
    "a wrong key": lambda **kw: requests.get(base + "WhoAmI", headers={"X-Api-Key": "wrong"}),
    "a wrong key with 20 MiB": lambda **kw: requests.patch(account + "/sample_filecolumn", data=big, headers={"X-Api-Key": "wrong", "Content-Type": "application/octet-stream"}),
}.items():
    try:
        refused = send()
        check(what, refused.status_code == 401 and refused.json()["error"]["code"] == "unauthorized", refused.text)
    except requests.RequestException as e:
        check(what, False, e)
for what, data in {"no consent": b"{}", "no consent with 20 MiB": big}.items():
    try:
        refused = s.post(proxy + "/fabrikam/api/data/v9.2/accounts", data=data, headers={"Content-Type": "application/octet-stream"})
        check(what, refused.status_code == 502 and refused.headers["Dynproxy-Error"] == "consent_required" and "consent" in refused.json()["error"]["message"], refused.text)
    except requests.RequestException as e:
        check(what, False, e)

# The standard library's client writes all before it reads anything, as
# WinHTTP and HttpWebRequest do.
for what, path, as_, status in [("a wrong key, told to who is still writing", "/contoso", "wrong", 401), ("no consent, told to who is still writing", "/fabrikam", key, 502)]:
    try:
        c = http.client.HTTPConnection(proxy.removeprefix("http://"))
        c.request("POST", path + "/api/data/v9.2/accounts", big, {"X-Api-Key": as_, "Content-Type": "application/octet-stream"})
        check(what, c.getresponse().status == status)
    except OSError as e:
        check(what, False, repr(e))

# SOAP, by the description that the proxy hands out.
basic = requests.Session()
basic.auth = (name, key)
soap = zeep.Client(proxy + "/contoso/XRMServices/2011/Organization.svc/web?singleWsdl", transport=zeep.transports.Transport(session=basic))
A = "{http://schemas.microsoft.com/xrm/2011/Contracts}"
B = "{http://schemas.datacontract.org/2004/07/System.Collections.Generic}"
check("the service's address is the proxy's", soap.service._binding_options["address"].startswith(proxy + "/contoso/"), soap.service._binding_options)
entity, attributes = soap.get_type(A + "Entity"), soap.get_type(A + "AttributeCollection")
pair = soap.get_type(B + "KeyValuePairOfstringanyType")
record = entity(LogicalName="account", Attributes=attributes([pair(key="name", value=xsd.AnyObject(xsd.String(), "zeep & co"))]))
new = soap.service.Create(entity=record)
columns = soap.get_type(A + "ColumnSet")(AllColumns=True)
held = soap.service.Retrieve(entityName="account", id=new, columnSet=columns)
values = {p.key: p.value for p in held.Attributes.KeyValuePairOfstringanyType}
check("zeep: made and retrieved", values.get("name") == "zeep & co" and values.get("accountid") == new, values)
query = soap.get_type(A + "FetchExpression")(Query='<fetch count="5"><entity name="account"><attribute name="name"/></entity></fetch>')
many = soap.service.RetrieveMultiple(query=query)
check("zeep: several", len(many.Entities.Entity) == 5 and many.MoreRecords, many)
who = soap.service.Execute(request=soap.get_type(A + "OrganizationRequest")(RequestName="WhoAmI"))
check("zeep: WhoAmI", "UserId" in [p.key for p in who.Results.KeyValuePairOfstringanyType], who)
service = soap.create_service("{http://schemas.microsoft.com/xrm/2011/Contracts/Services}CustomBinding_IOrganizationService", proxy + "/fabrikam/XRMServices/2011/Organization.svc/web")
for what, call, words in [
    ("zeep: a fault of the organization", lambda: soap.service.Delete(entityName="account", id="00000000-0000-4000-8000-000000000000"), "Does Not Exist"),
    ("zeep: a fault of the proxy", lambda: service.Delete(entityName="account", id=new), "consent"),
]:
    try:
        call()
        check(what, False, "no fault")
    except zeep.exceptions.Fault as e:
        check(what, words in e.message and e.detail.find(".//" + A + "ErrorCode") is not None, e.message)
    except Exception as e:
        check(what, False, repr(e))
soap.service.Delete(entityName="account", id=new)
sys.exit(failed > 0)
