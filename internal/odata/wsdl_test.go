package odata

import (
	"strings"
	"testing"
)

func TestAddressesOfAServiceDescription(t *testing.T) {
	tests := []struct{ in, want string }{
		{`<?xml version="1.0"?><soap12:address location="O/XRMServices/2011/Organization.svc"/>`, `<?xml version="1.0"?><soap12:address location="P/XRMServices/2011/Organization.svc"/>`},
		{`<xsd:import schemaLocation='O/o.svc?xsd=xsd0&amp;a' namespace="O/ns"/><a/>`, `<xsd:import schemaLocation='P/o.svc?xsd=xsd0&amp;a' namespace="O/ns"/><a/>`},
		{"<wsa10:EndpointReference>\n<wsa10:Address\n>\n  O/a  </wsa10:Address ><x>O/b</x></wsa10:EndpointReference>", "<wsa10:EndpointReference>\n<wsa10:Address\n>\n  P/a  </wsa10:Address ><x>O/b</x></wsa10:EndpointReference>"},
		{`<Address x="1">O</Address>O<Address/>O<b location = "O" />`, `<Address x="1">P</Address>O<Address/>O<b location = "P" />`},
		{`<!-- <a location="O/"/> - -- > --><![CDATA[<a location="O/"/> ]] > ]]><?x location="O/" ?><a location="O/" b=">"/>`, `<!-- <a location="O/"/> - -- > --><![CDATA[<a location="O/"/> ]] > ]]><?x location="O/" ?><a location="P/" b=">"/>`},
		{`<a locations="O/" relocation="O/" location="https://other/" x:location="O.evil/"/>`, ""},
		{`<a location="O`, ""},
		{`<a location=`, ""},
		{`<`, ""}, {`<!`, ""}, {`<!-`, ""}, {``, ""},
	}
	xml := strings.NewReplacer("O/", orgBase+"/", "P/", publicBase+"/", "O.", orgBase+".", "\"O\"", `"`+orgBase+`"`, "\"P\"", `"`+publicBase+`"`, ">O<", ">"+orgBase+"<", ">P<", ">"+publicBase+"<")
	for _, tt := range tests {
		in, want := xml.Replace(tt.in), xml.Replace(tt.want)
		if want == "" {
			want = in
		}
		if got := rewritten(t, contoso().WSDL, in); got != want {
			t.Errorf("WSDL(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestAddressesOfEndpointsInAnEnvelope(t *testing.T) {
	tests := []struct{ in, want string }{
		{`<c:Endpoints a="O/"><c:K><b:key>W</b:key><b:value>O/x</b:value></c:K><c:K><b:value> O/</b:value></c:K></c:Endpoints>`, `<c:Endpoints a="O/"><c:K><b:key>W</b:key><b:value>P/x</b:value></c:K><c:K><b:value> P/</b:value></c:K></c:Endpoints>`},
		{`<b:value><c:Endpoints><b:value location="O/">O/</b:value></c:Endpoints><c:Name>O/</c:Name></b:value><b:value>O/</b:value>`, `<b:value><c:Endpoints><b:value location="O/">P/</b:value></c:Endpoints><c:Name>O/</c:Name></b:value><b:value>O/</b:value>`},
		{`<Endpoints/><value>O/</value><Endpoints i:nil="true"/><value>O/</value><x><Endpoints><y/></Endpoints><value>O/</value></x>`, ""},
		{`<Endpoints><!-- <value>O/</value> --><key>O/</key><value><![CDATA[O/]]></value><value/>O/</Endpoints>`, ""},
		{`<value>O/</value><Address>O/</Address><a location="O/"/>`, ""},
	}
	xml := strings.NewReplacer("O/", orgBase+"/", "P/", publicBase+"/")
	for _, tt := range tests {
		in, want := xml.Replace(tt.in), xml.Replace(tt.want)
		if want == "" {
			want = in
		}
		if got := rewritten(t, contoso().EndpointsEnvelope, in); got != want {
			t.Errorf("EndpointsEnvelope(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}
