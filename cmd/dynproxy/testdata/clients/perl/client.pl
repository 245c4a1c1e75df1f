#!/usr/bin/perl
# Drives the proxy with LWP and SOAP::Lite. Arguments: the proxy's address, a
# caller's name and key.
use strict;
use warnings;
use HTTP::Request;
use JSON::PP;
use LWP::UserAgent;
use Digest::SHA qw(sha256_hex);
use SOAP::Lite;

my ($proxy, $name, $key) = @ARGV;
my $base = "$proxy/contoso/api/data/v9.2/";
my $failed = 0;

sub check {
    my ($what, $good, @seen) = @_;
    print $good ? "ok   $what\n" : "FAIL $what " . join(' ', map { $_ // 'undef' } @seen) . "\n";
    $failed++ unless $good;
}

my $ua = LWP::UserAgent->new(keep_alive => 4);

sub call {
    my ($method, $url, $body, %headers) = @_;
    my $type = delete $headers{'Content-Type'} // 'application/json';
    my $r = HTTP::Request->new($method, $url, ['X-Api-Key' => $key, 'Accept' => 'application/json', defined $body ? ('Content-Type' => $type) : ()], $body);
    $r->header($_ => $headers{$_}) for keys %headers;
    return $ua->request($r);
}

sub json { return eval { decode_json($_[0]->content) } // {} }

# A list, page by page.
my ($url, $pages, %names) = ($base . 'accounts?$select=name', 0);
while ($url) {
    check("a page's address is the proxy's", index($url, $base) == 0, $url);
    my $page = json(call('GET', $url, undef, Prefer => 'odata.maxpagesize=10'));
    $names{ $_->{name} } = 1 for @{ $page->{value} };
    $url = $page->{'@odata.nextLink'};
    $pages++;
}
check('36 accounts on 4 pages', keys %names == 36 && $pages == 4, scalar(keys %names), $pages);

# Records bound to the proxy's own addresses.
my $contact = call('POST', $base . 'contacts', '{"lastname":"Perl"}')->header('OData-EntityId') // '';
check("the new record's address is the proxy's", index($contact, $base) == 0, $contact);
my $made = call('POST', $base . 'accounts', encode_json({ name => 'LWP', 'primarycontactid@odata.bind' => $contact }), Prefer => 'return=representation');
my $account = $made->header('OData-EntityId') // '';
check('bound when made', $made->code == 201 && index($contact, json($made)->{_primarycontactid_value}) > 0, $made->content);
my $parent = call('PUT', $account . '/parentaccountid/$ref', encode_json({ '@odata.id' => $account }));
check('bound by reference', $parent->code == 204, $parent->content);

# Conditional writes.
my $etag = json(call('GET', $account . '?$select=name'))->{'@odata.etag'};
check('If-Match that holds', call('PATCH', $account, '{"name":"again"}', 'If-Match' => $etag)->code == 204);
my $stale = call('PATCH', $account, '{"name":"never"}', 'If-Match' => $etag);
check('If-Match that does not hold', $stale->code == 412 && json($stale)->{error}{code} eq '0x80060882', $stale->content);

# A batch with a change set.
my $batch = join "\r\n",
    '--b', 'Content-Type: multipart/mixed;boundary=c', '',
    '--c', 'Content-Type: application/http', 'Content-Transfer-Encoding: binary', 'Content-ID: 1', '',
    "PATCH $account HTTP/1.1", 'Content-Type: application/json', '', '{"name":"in a batch"}',
    '--c--', '',
    '--b', 'Content-Type: application/http', 'Content-Transfer-Encoding: binary', '',
    "GET $account?\$select=name HTTP/1.1", 'Accept: application/json', '', '',
    '--b--', '';
my $several = call('POST', $base . '$batch', $batch, 'Content-Type' => 'multipart/mixed;boundary=b');
check('a batch', $several->code == 200 && $several->content =~ /HTTP\/1.1 204/ && $several->content =~ /"name":"in a batch"/ && index($several->content, $account) > 0, $several->content);

# A file up and down.
my @octets = ('Content-Type' => 'application/octet-stream', 'x-ms-file-name' => 'f.bin');
my $content = substr(pack('C*', 0 .. 250) x int((8 << 20) / 251 + 1), 0, 8 << 20);
my $up = call('PATCH', "$account/sample_filecolumn", $content, @octets);
my $down = call('GET', "$account/sample_filecolumn/\$value");
check('8 MiB up and down', $up->code == 204 && sha256_hex($down->content) eq sha256_hex($content), $up->content, length $down->content);

# Refusals are read as what they are, while an upload is under way, too.
my $big = 'x' x (20 << 20);
for ([ 'a wrong key', 'GET', 'WhoAmI' ], [ 'a wrong key with 20 MiB', 'POST', 'accounts', $big ]) {
    my ($what, $method, $path, $body) = @$_;
    my $refused = call($method, $base . $path, $body, 'X-Api-Key' => 'wrong', defined $body ? @octets : ());
    check($what, $refused->code == 401 && (json($refused)->{error}{code} // '') eq 'unauthorized', $refused->status_line, $refused->content);
}
for ([ 'no consent', 'GET', 'WhoAmI' ], [ 'no consent with 20 MiB', 'POST', 'accounts', $big ]) {
    my ($what, $method, $path, $body) = @$_;
    my $refused = call($method, "$proxy/fabrikam/api/data/v9.2/$path", $body, defined $body ? @octets : ());
    check($what, $refused->code == 502 && ($refused->header('Dynproxy-Error') // '') eq 'consent_required' && (json($refused)->{error}{message} // '') =~ /consent/, $refused->status_line, $refused->content);
}

# SOAP. SOAP::Lite raises an error for a value of a type that it does not know:
# ids and durations are text.
package Plain {
    our @ISA = ('SOAP::Deserializer');
    sub typecast { my ($self, $value, $name, $attributes, $children, $type) = @_; return ($type // '') =~ /(guid|duration)$/ ? $value : undef }
}
my $contracts = 'http://schemas.microsoft.com/xrm/2011/Contracts';
my $generic = 'http://schemas.datacontract.org/2004/07/System.Collections.Generic';

sub service {
    my ($tenant) = @_;
    my $address = "$proxy/$tenant/XRMServices/2011/Organization.svc/web";
    $address =~ s{^http://}{http://$name:$key@};
    my $soap = SOAP::Lite->proxy($address)->on_action(sub { qq("http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/$_[1]") });
    $soap->serializer->register_ns($contracts, 'a');
    $soap->serializer->register_ns($generic, 'b');
    $soap->deserializer(Plain->new);
    $soap->autotype(0);
    $soap->default_ns('http://schemas.microsoft.com/xrm/2011/Contracts/Services');
    # A fault is returned and not raised.
    $soap->on_fault(sub { my ($soap, $res) = @_; return ref $res ? $res : SOAP::SOM::failed($res) });
    return $soap;
}
sub SOAP::SOM::failed { my ($why) = @_; die "no fault but: " . ($why // $!) . "\n" }
sub data { my ($name, @value) = @_; return SOAP::Data->name($name => @value) }

my $soap = service('contoso');
my $pair = data('a:KeyValuePairOfstringanyType', \SOAP::Data->value(data('b:key', 'name'), SOAP::Data->name('b:value' => 'SOAP::Lite & co')->type('string')));
my $new = $soap->call('Create', data('entity', \SOAP::Data->value(data('a:Attributes', \$pair), data('a:LogicalName', 'account'))))->result;
check('SOAP::Lite: made', ($new // '') =~ /^[0-9a-f-]{36}$/, $new);
my $held = $soap->call('Retrieve', data('entityName', 'account'), data('id', $new), data('columnSet', \data('a:AllColumns', 'true')));
my %values;
for ($held->valueof('//Attributes/KeyValuePairOfstringanyType')) { $values{ $_->{key} } = $_->{value} }
check('SOAP::Lite: retrieved', ($values{name} // '') eq 'SOAP::Lite & co' && $values{accountid} eq $new, %values);
my $who = $soap->call('Execute', data('request', \data('a:RequestName', 'WhoAmI')));
check('SOAP::Lite: WhoAmI', grep({ $_ eq 'UserId' } $who->valueof('//Results/KeyValuePairOfstringanyType/key')), $who->faultstring);
for ([ 'SOAP::Lite: a fault of the organization', $soap, qr/Does Not Exist/ ], [ 'SOAP::Lite: a fault of the proxy', service('fabrikam'), qr/consent/ ]) {
    my ($what, $client, $words) = @$_;
    my $som = eval { $client->call('Delete', data('entityName', 'account'), data('id', '00000000-0000-4000-8000-000000000000')) };
    check($what, $som && $som->fault && $som->faultstring =~ $words && defined $som->faultdetail->{OrganizationServiceFault}{ErrorCode}, $@, $som ? $som->faultstring : '');
}
$soap->call('Delete', data('entityName', 'account'), data('id', $new));
exit($failed > 0 ? 1 : 0);
