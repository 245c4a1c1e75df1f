package dataverse

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const soapPath = "/XRMServices/2011/Organization.svc"

const soapNamespace = "http://schemas.xmlsoap.org/soap/envelope/"

// maxSOAP bounds an envelope: none that is understood here is longer.
const maxSOAP = 1 << 20

// serveSOAP answers the organization service: its description, and the message
// WhoAmI. Every other message is answered with a fault.
func (o *Organization) serveSOAP(w http.ResponseWriter, r *http.Request, who Caller) {
	if r.Method == http.MethodGet {
		o.serveWSDL(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSOAP))
	if err != nil {
		writeSOAP(w, http.StatusBadRequest, soapFault("The request could not be read."))
		return
	}
	name, err := soapRequestName(body)
	if err != nil {
		writeSOAP(w, http.StatusInternalServerError, soapFault("The message could not be understood: "+err.Error()))
		return
	}
	if name != "WhoAmI" {
		writeSOAP(w, http.StatusInternalServerError, soapFault("The message '"+name+"' is not supported."))
		return
	}
	o.mu.RLock()
	q := &request{org: o, method: http.MethodGet, header: r.Header, who: who}
	err = q.identify()
	var found object
	if err == nil {
		found = q.whoAmI()
	}
	o.mu.RUnlock()
	if err != nil {
		writeSOAP(w, http.StatusInternalServerError, soapFault(faultOf(err).message))
		return
	}
	writeSOAP(w, http.StatusOK, soapResults("WhoAmI", found))
}

// serveWSDL describes the service. It names the address of the organization as
// the caller reached it.
func (o *Organization) serveWSDL(w http.ResponseWriter, r *http.Request) {
	query := strings.ToLower(r.URL.RawQuery)
	if !strings.HasPrefix(query, "wsdl") && !strings.HasPrefix(query, "singlewsdl") {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header()["Content-Type"] = []string{"text/xml; charset=UTF-8"}
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><wsdl:definitions name="OrganizationService" targetNamespace="http://schemas.microsoft.com/xrm/2011/Contracts" `+
		`xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:i0="http://schemas.microsoft.com/xrm/2011/Contracts/Services">`+
		`<wsdl:portType name="IOrganizationService"><wsdl:operation name="Execute" /></wsdl:portType>`+
		`<wsdl:service name="OrganizationService"><wsdl:port name="CustomBinding_IOrganizationService" binding="i0:CustomBinding_IOrganizationService">`+
		`<soap:address location="%s"/></wsdl:port></wsdl:service></wsdl:definitions>`, escapeXML("https://"+r.Host+soapPath))
}

// soapRequestName finds the name of the message in an Execute envelope.
func soapRequestName(body []byte) (string, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	inBody, inExecute := false, false
	for {
		token, err := decoder.Token()
		if err != nil {
			return "", fmt.Errorf("read the envelope: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch {
		case start.Name == xml.Name{Space: soapNamespace, Local: "Body"}:
			inBody = true
		case inBody && !inExecute:
			if start.Name.Local != "Execute" {
				return start.Name.Local, nil
			}
			inExecute = true
		case inExecute && start.Name.Local == "RequestName":
			var name string
			err := decoder.DecodeElement(&name, &start)
			return strings.TrimSpace(name), err
		}
	}
}

// soapResults is the body that answers an Execute: results by name, all GUIDs.
func soapResults(name string, found object) string {
	var pairs strings.Builder
	for _, m := range found {
		fmt.Fprintf(&pairs, `<a:KeyValuePairOfstringanyType><b:key>%s</b:key><b:value i:type="c:guid" xmlns:c="http://schemas.microsoft.com/2003/10/Serialization/">%s</b:value></a:KeyValuePairOfstringanyType>`,
			m.name, m.value)
	}
	return `<ExecuteResponse xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services">` +
		`<ExecuteResult xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">` +
		`<a:ResponseName>` + name + `</a:ResponseName><a:Results xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic">` +
		pairs.String() + `</a:Results></ExecuteResult></ExecuteResponse>`
}

// soapFault is the body that refuses a message.
func soapFault(message string) string {
	text := escapeXML(message)
	return `<s:Fault><faultcode>s:Client</faultcode><faultstring xml:lang="en-US">` + text + `</faultstring><detail>` +
		`<OrganizationServiceFault xmlns="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">` +
		`<ErrorCode>-2147220989</ErrorCode><Message>` + text + `</Message></OrganizationServiceFault></detail></s:Fault>`
}

func writeSOAP(w http.ResponseWriter, status int, body string) {
	w.Header()["Content-Type"] = []string{"text/xml; charset=utf-8"}
	w.WriteHeader(status)
	io.WriteString(w, `<s:Envelope xmlns:s="`+soapNamespace+`"><s:Body>`+body+`</s:Body></s:Envelope>`)
}
