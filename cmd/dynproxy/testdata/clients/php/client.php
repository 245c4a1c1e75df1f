<?php
// Drives the proxy with curl and SoapClient. Arguments: the proxy's address, a
// caller's name and key.
[, $proxy, $name, $key] = $argv;
$base = "$proxy/contoso/api/data/v9.2/";
$failed = 0;

function check(string $what, bool $good, mixed $seen = null): void {
    global $failed;
    echo $good ? "ok   $what\n" : "FAIL $what " . print_r($seen, true) . "\n";
    $failed += $good ? 0 : 1;
}

// call sends a request and returns status, headers in lower case and body.
function call(string $method, string $url, ?string $body = null, array $headers = [], ?string $as = null): array {
    global $key;
    $c = curl_init($url);
    $seen = [];
    curl_setopt_array($c, [
        CURLOPT_CUSTOMREQUEST => $method, CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTPHEADER => array_merge(['X-Api-Key: ' . ($as ?? $key), 'Accept: application/json'], $body === null ? [] : ['Content-Type: application/json'], $headers),
        CURLOPT_HEADERFUNCTION => function ($c, $line) use (&$seen) {
            $parts = explode(':', $line, 2);
            if (count($parts) == 2) $seen[strtolower($parts[0])] = trim($parts[1]);
            return strlen($line);
        },
    ]);
    if ($body !== null) curl_setopt($c, CURLOPT_POSTFIELDS, $body);
    $out = curl_exec($c);
    return [curl_getinfo($c, CURLINFO_RESPONSE_CODE), $seen, $out === false ? curl_error($c) : $out];
}

// A list, page by page.
$url = $base . 'accounts?$select=name';
$names = [];
for ($pages = 0; $url !== null; $pages++) {
    check("a page's address is the proxy's", str_starts_with($url, $base), $url);
    $page = json_decode(call('GET', $url, null, ['Prefer: odata.maxpagesize=10'])[2], true);
    foreach ($page['value'] as $row) $names[$row['name']] = true;
    $url = $page['@odata.nextLink'] ?? null;
}
check('36 accounts on 4 pages', count($names) == 36 && $pages == 4, [$pages, count($names)]);

// Records bound to the proxy's own addresses. PHP escapes slashes in JSON.
$contact = call('POST', $base . 'contacts', json_encode(['lastname' => 'PHP']))[1]['odata-entityid'] ?? '';
check("the new record's address is the proxy's", str_starts_with($contact, $base), $contact);
[$status, $headers, $body] = call('POST', $base . 'accounts', json_encode(['name' => 'curl', 'primarycontactid@odata.bind' => $contact]), ['Prefer: return=representation']);
$account = $headers['odata-entityid'] ?? '';
check('bound when made', $status == 201 && str_contains($contact, json_decode($body, true)['_primarycontactid_value']), $body);
[$status, , $body] = call('PUT', "$account/parentaccountid/\$ref", json_encode(['@odata.id' => $account]));
check('bound by reference', $status == 204, $body);

// Conditional writes.
$etag = json_decode(call('GET', "$account?\$select=name")[2], true)['@odata.etag'];
check('If-Match that holds', call('PATCH', $account, '{"name":"again"}', ["If-Match: $etag"])[0] == 204);
[$status, , $body] = call('PATCH', $account, '{"name":"never"}', ["If-Match: $etag"]);
check('If-Match that does not hold', $status == 412 && json_decode($body, true)['error']['code'] == '0x80060882', $body);

// A batch with a change set.
$batch = implode("\r\n", [
    '--b', 'Content-Type: multipart/mixed;boundary=c', '',
    '--c', 'Content-Type: application/http', 'Content-Transfer-Encoding: binary', 'Content-ID: 1', '',
    "PATCH $account HTTP/1.1", 'Content-Type: application/json', '', '{"name":"in a batch"}',
    '--c--', '',
    '--b', 'Content-Type: application/http', 'Content-Transfer-Encoding: binary', '',
    "GET $account?\$select=name HTTP/1.1", 'Accept: application/json', '', '',
    '--b--', '']);
$c = curl_init($base . '$batch');
curl_setopt_array($c, [CURLOPT_POSTFIELDS => $batch, CURLOPT_RETURNTRANSFER => true, CURLOPT_HTTPHEADER => ["X-Api-Key: $key", 'Content-Type: multipart/mixed;boundary=b']]);
$body = curl_exec($c);
check('a batch', curl_getinfo($c, CURLINFO_RESPONSE_CODE) == 200 && str_contains($body, 'HTTP/1.1 204') && str_contains($body, '"name":"in a batch"') && str_contains($body, $account), $body);

// A file up and down.
$content = str_repeat(pack('C*', ...range(0, 250)), intdiv(8 << 20, 251) + 1);
$content = substr($content, 0, 8 << 20);
$octets = function (string $method, string $url, string $body, string $as): array {
    $c = curl_init($url);
    curl_setopt_array($c, [CURLOPT_CUSTOMREQUEST => $method, CURLOPT_POSTFIELDS => $body, CURLOPT_RETURNTRANSFER => true, CURLOPT_HTTPHEADER => ["X-Api-Key: $as", 'Content-Type: application/octet-stream', 'x-ms-file-name: f.bin', 'Expect:']]);
    $out = curl_exec($c);
    return [curl_getinfo($c, CURLINFO_RESPONSE_CODE), $out === false ? curl_error($c) : $out];
};
[$status, $body] = $octets('PATCH', "$account/sample_filecolumn", $content, $key);
$down = call('GET', "$account/sample_filecolumn/\$value")[2];
check('8 MiB up and down', $status == 204 && hash('sha256', $down) == hash('sha256', $content), [$status, $body, strlen($down)]);

// Refusals are read as what they are, while an upload is under way, too.
$big = str_repeat('x', 20 << 20);
[$status, , $body] = call('GET', $base . 'WhoAmI', null, [], 'wrong');
check('a wrong key', $status == 401 && json_decode($body, true)['error']['code'] == 'unauthorized', $body);
[$status, $body] = $octets('PATCH', "$account/sample_filecolumn", $big, 'wrong');
check('a wrong key with 20 MiB', $status == 401 && str_contains($body, 'unauthorized'), [$status, $body]);
[$status, $headers, $body] = call('GET', "$proxy/fabrikam/api/data/v9.2/WhoAmI");
check('no consent', $status == 502 && $headers['dynproxy-error'] == 'consent_required' && str_contains(json_decode($body, true)['error']['message'], 'consent'), $body);
[$status, $body] = $octets('POST', "$proxy/fabrikam/api/data/v9.2/accounts", $big, $key);
check('no consent with 20 MiB', $status == 502 && str_contains($body, 'consent_required'), [$status, $body]);

// SOAP, by the description that the proxy hands out.
$options = ['login' => $name, 'password' => $key, 'cache_wsdl' => WSDL_CACHE_NONE, 'trace' => true, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS];
$soap = new SoapClient("$proxy/contoso/XRMServices/2011/Organization.svc?wsdl", $options);
const A = 'http://schemas.microsoft.com/xrm/2011/Contracts';
$pair = ['key' => 'name', 'value' => new SoapVar('SoapClient & co', XSD_STRING, 'string', 'http://www.w3.org/2001/XMLSchema')];
$new = $soap->Create(['entity' => ['LogicalName' => 'account', 'Attributes' => ['KeyValuePairOfstringanyType' => [$pair]]]])->CreateResult;
check("the service's address is the proxy's", preg_match('/^[0-9a-f-]{36}$/', $new) == 1, $soap->__getLastRequestHeaders());
$held = $soap->Retrieve(['entityName' => 'account', 'id' => $new, 'columnSet' => ['AllColumns' => true]])->RetrieveResult;
$values = [];
foreach ($held->Attributes->KeyValuePairOfstringanyType as $p) $values[$p->key] = $p->value;
check('SoapClient: made and retrieved', $values['name'] == 'SoapClient & co' && $values['accountid'] == $new, $values);
$query = new SoapVar(['Query' => '<fetch count="5"><entity name="account"><attribute name="name"/></entity></fetch>'], SOAP_ENC_OBJECT, 'FetchExpression', A);
$many = $soap->RetrieveMultiple(['query' => $query])->RetrieveMultipleResult;
check('SoapClient: several', count($many->Entities->Entity) == 5 && $many->MoreRecords, $many);
$who = $soap->Execute(['request' => ['RequestName' => 'WhoAmI', 'Parameters' => []]])->ExecuteResult;
check('SoapClient: WhoAmI', $who->Results->KeyValuePairOfstringanyType[1]->key == 'UserId', $who);
$other = new SoapClient("$proxy/contoso/XRMServices/2011/Organization.svc?wsdl", $options);
$other->__setLocation("$proxy/fabrikam/XRMServices/2011/Organization.svc/web");
foreach (['SoapClient: a fault of the organization' => [$soap, 'Does Not Exist'], 'SoapClient: a fault of the proxy' => [$other, 'consent']] as $what => [$client, $words]) {
    try {
        $client->Delete(['entityName' => 'account', 'id' => '00000000-0000-4000-8000-000000000000']);
        check($what, false, 'no fault');
    } catch (SoapFault $e) {
        check($what, str_contains($e->getMessage(), $words) && isset($e->detail->OrganizationServiceFault->ErrorCode), [$e->getMessage(), $e->detail ?? null]);
    }
}
$soap->Delete(['entityName' => 'account', 'id' => $new]);
exit($failed > 0 ? 1 : 0);
