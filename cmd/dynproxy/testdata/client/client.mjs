// Drives a tenant through the proxy with the dynamics-web-api library as it
// comes from the registry: no plug-in, no token, only the proxy's address.
//
//   node client.mjs http://127.0.0.1:8080/contoso/
//
// Prints a line for each operation and ends with status 1 at the first that
// does not do what it should.
import assert from "node:assert/strict";
import { DynamicsWebApi } from "dynamics-web-api";

const base = process.argv[2];
const api = new DynamicsWebApi({ serverUrl: base, dataApi: { version: "9.2" } });
const leads = (link) => assert.ok(link.startsWith(base), `${link} leads away from ${base}`);

const steps = {
  async "WhoAmI"() {
    const me = await api.callFunction("WhoAmI");
    assert.match(me.UserId, /^[0-9a-f-]{36}$/);
    leads(me["@odata.context"] ?? me.oDataContext);
  },

  async "create"(seen) {
    seen.account = await api.create({ collection: "accounts", data: { name: "Real client", revenue: 12.5 } });
    assert.match(seen.account, /^[0-9a-f-]{36}$/);
    const whole = await api.create({ collection: "contacts", data: { firstname: "Ada", lastname: "Client" }, returnRepresentation: true });
    assert.equal(whole.lastname, "Client");
    seen.contact = whole.contactid;
  },

  async "retrieve"(seen) {
    const got = await api.retrieve({ collection: "accounts", key: seen.account, select: ["name", "revenue"] });
    assert.equal(got.name, "Real client");
    assert.equal(got.revenue, 12.5);
  },

  async "update"(seen) {
    await api.update({ collection: "accounts", key: seen.account, data: { name: "Real client, renamed" } });
    const got = await api.retrieve({ collection: "accounts", key: seen.account, select: ["name"] });
    assert.equal(got.name, "Real client, renamed");
  },

  async "upsert"(seen) {
    seen.upserted = "0d1e2f30-1111-4222-8333-444455556666";
    await api.upsert({ collection: "accounts", key: seen.upserted, data: { name: "Upserted" } });
    await api.upsert({ collection: "accounts", key: seen.upserted, data: { name: "Upserted twice" } });
    const got = await api.retrieve({ collection: "accounts", key: seen.upserted, select: ["name"] });
    assert.equal(got.name, "Upserted twice");
  },

  async "retrieveMultiple over three pages"() {
    const request = { collection: "accounts", select: ["name"], orderBy: ["name"], maxPageSize: 5 };
    const names = new Set();
    let page = await api.retrieveMultiple(request);
    for (let n = 1; ; n++) {
      page.value.forEach((a) => names.add(a.accountid));
      assert.equal(names.size, 5 * n, "a page repeats rows");
      if (n === 3) break;
      leads(page.oDataNextLink);
      page = await api.retrieveMultiple(request, page.oDataNextLink);
    }
  },

  async "annotations"(seen) {
    await api.update({ collection: "accounts", key: seen.account, data: { "primarycontactid@odata.bind": `contacts(${seen.contact})` } });
    const got = await api.retrieve({
      collection: "accounts", key: seen.account, select: ["name", "_primarycontactid_value"],
      expand: [{ property: "primarycontactid", select: ["lastname"] }], includeAnnotations: "*",
    });
    assert.equal(got.primarycontactid.lastname, "Client");
    assert.ok(got._primarycontactid_value_Formatted ?? got["_primarycontactid_value@OData.Community.Display.V1.FormattedValue"]);
  },

  async "fetchXml"() {
    const fetchXml = `<fetch count="4"><entity name="account"><attribute name="name"/><order attribute="name"/></entity></fetch>`;
    const first = await api.fetch({ collection: "accounts", fetchXml });
    assert.equal(first.value.length, 4);
    const second = await api.fetch({ collection: "accounts", fetchXml, pageNumber: 2, pagingCookie: first.PagingInfo?.cookie });
    assert.equal(second.value.length, 4);
    assert.notEqual(second.value[0].accountid, first.value[0].accountid);
  },

  async "associate and disassociate"(seen) {
    await api.associate({ collection: "accounts", primaryKey: seen.account, relationshipName: "contact_customer_accounts", relatedCollection: "contacts", relatedKey: seen.contact });
    const related = async () => (await api.retrieve({
      collection: "accounts", key: seen.account, select: ["name"],
      expand: [{ property: "contact_customer_accounts", select: ["contactid"] }],
    })).contact_customer_accounts.map((c) => c.contactid);
    assert.deepEqual(await related(), [seen.contact]);
    await api.disassociate({ collection: "accounts", primaryKey: seen.account, relationshipName: "contact_customer_accounts", relatedKey: seen.contact });
    assert.deepEqual(await related(), []);

    await api.associateSingleValued({ collection: "accounts", primaryKey: seen.upserted, navigationProperty: "primarycontactid", relatedCollection: "contacts", relatedKey: seen.contact });
    const single = async () => (await api.retrieve({ collection: "accounts", key: seen.upserted, select: ["_primarycontactid_value"] }))._primarycontactid_value;
    assert.equal(await single(), seen.contact);
    await api.disassociateSingleValued({ collection: "accounts", primaryKey: seen.upserted, navigationProperty: "primarycontactid" });
    assert.equal(await single(), null);
  },

  async "batch with content ids"(seen) {
    api.startBatch();
    api.create({ collection: "accounts", data: { name: "From a batch" }, contentId: "1" });
    api.create({ collection: "tasks", data: { subject: "Call", "regardingobjectid_account_task@odata.bind": "$1" }, contentId: "2" });
    api.retrieveMultiple({ collection: "accounts", select: ["name"], top: 1, inChangeSet: false });
    const [account, task, list] = await api.executeBatch();
    assert.match(account, /^[0-9a-f-]{36}$/);
    assert.equal(list.value.length, 1);
    const got = await api.retrieve({ collection: "tasks", key: task, select: ["subject", "_regardingobjectid_value"] });
    assert.equal(got._regardingobjectid_value, account);
    seen.batched = [account, task];
  },

  async "batch that fails changes nothing"() {
    const before = await api.count({ collection: "accounts" });
    api.startBatch();
    api.create({ collection: "accounts", data: { name: "Never" }, contentId: "1" });
    api.update({ collection: "accounts", key: "00000000-0000-4000-8000-00000000dead", data: { nosuchcolumn: 1 } });
    await assert.rejects(api.executeBatch());
    assert.equal(await api.count({ collection: "accounts" }), before);
  },

  async "a file up and down in chunks"(seen) {
    const data = new Uint8Array(9 * 1024 * 1024 + 17).map((_, i) => (i * 31 + (i >> 11)) & 255);
    const file = { collection: "accounts", key: seen.account, property: "sample_filecolumn" };
    await api.uploadFile({ ...file, fileName: "large.bin", data });
    const got = await api.downloadFile(file);
    assert.equal(got.fileName, "large.bin");
    assert.equal(Buffer.compare(Buffer.from(got.data), Buffer.from(data)), 0, "the file came back changed");
  },

  async "delta"(seen) {
    const request = { collection: "accounts", select: ["name"], trackChanges: true };
    const first = await api.retrieveMultiple(request);
    leads(first.oDataDeltaLink);
    await api.update({ collection: "accounts", key: seen.account, data: { name: "Changed since" } });
    const changed = await api.retrieveMultiple(request, first.oDataDeltaLink);
    assert.deepEqual(changed.value.map((a) => a.name), ["Changed since"]);
  },

  async "paging with annotations"() {
    const request = { collection: "accounts", select: ["name", "_primarycontactid_value"], maxPageSize: 4, includeAnnotations: "*" };
    const first = await api.retrieveMultiple(request);
    leads(first.oDataNextLink);
    const second = await api.retrieveMultiple(request, first.oDataNextLink);
    assert.equal(second.value.length, 4);
    assert.ok(second.value.some((a) => Object.keys(a).some((k) => k.startsWith("_primarycontactid_value_") || k.includes("lookuplogicalname"))));
  },

  async "count"() {
    assert.ok((await api.count({ collection: "accounts" })) > 10);
  },

  async "delete"(seen) {
    for (const key of [seen.account, seen.upserted, seen.batched[0]]) {
      await api.deleteRecord({ collection: "accounts", key });
    }
    await assert.rejects(api.retrieve({ collection: "accounts", key: seen.account }), (e) => e.status === 404);
  },
};

const seen = {};
for (const [name, step] of Object.entries(steps)) {
  try {
    await step(seen);
    console.log(`ok   ${name}`);
  } catch (e) {
    console.log(`FAIL ${name}: ${e.stack ?? JSON.stringify(e)}`);
    process.exit(1);
  }
}
