package dataverse

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
)

const soapPath = "/XRMServices/2011/Organization.svc"

const (
	soapNamespace          = "http://schemas.xmlsoap.org/soap/envelope/"
	servicesNamespace      = "http://schemas.microsoft.com/xrm/2011/Contracts/Services"
	contractsNamespace     = "http://schemas.microsoft.com/xrm/2011/Contracts"
	contracts2012Namespace = "http://schemas.microsoft.com/xrm/2012/Contracts"
	genericNamespace       = "http://schemas.datacontract.org/2004/07/System.Collections.Generic"
	serializationNamespace = "http://schemas.microsoft.com/2003/10/Serialization/"
	schemaNamespace        = "http://www.w3.org/2001/XMLSchema"
	instanceNamespace      = "http://www.w3.org/2001/XMLSchema-instance"
)

// maxSOAP bounds an envelope.
const maxSOAP = 16 << 20

// nobody is what an empty id in a header stands for.
const nobody = "00000000-0000-0000-0000-000000000000"

// serveSOAP answers the organization service: its description, and its
// operations by SOAP 1.1.
func (o *Organization) serveSOAP(w http.ResponseWriter, r *http.Request, who Caller) {
	switch {
	case r.Method == http.MethodGet:
		serveWSDL(w, r)
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/"):
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	body, err := o.operate(w, r, who)
	if err != nil {
		f := faultOf(err)
		WriteFault(w, f.code, f.message, 0)
		return
	}
	writeSOAP(w, http.StatusOK, body)
}

// operate carries an envelope out and returns the body of the answer.
func (o *Organization) operate(w http.ResponseWriter, r *http.Request, who Caller) (string, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSOAP))
	if err != nil {
		return "", badMessage("The request could not be read.")
	}
	var envelope node
	if err := xml.Unmarshal(text, &envelope); err != nil {
		return "", badMessage("The message could not be understood: " + err.Error())
	}
	body := envelope.child("Body")
	if envelope.XMLName != (xml.Name{Space: soapNamespace, Local: "Envelope"}) || body == nil || len(body.Nodes) != 1 {
		return "", badMessage("The message is no envelope of SOAP 1.1 with one operation.")
	}
	operation := &body.Nodes[0]
	if operation.XMLName.Space != servicesNamespace {
		return "", badMessage("The operation '" + operation.XMLName.Local + "' is of no namespace that is known here.")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q := &request{org: o, method: http.MethodGet, host: r.Host, header: soapCaller(r.Header, envelope.child("Header")), who: who}
	if err := q.identify(); err != nil {
		return "", err
	}
	var out string
	err = o.data.attempt(func() (err error) {
		out, err = q.soapOperation(operation)
		return err
	})
	return out, err
}

// soapCaller gives the request's header with the user that the envelope's
// header asks to act for.
func soapCaller(header http.Header, n *node) http.Header {
	out := header.Clone()
	for name, as := range map[string]string{"CallerId": "MSCRMCallerID", "CallerObjectId": "CallerObjectId"} {
		if id := n.child(name).text(); id != "" && id != nobody {
			out.Set(as, id)
		}
	}
	return out
}

func badMessage(message string) error {
	return faultf(http.StatusInternalServerError, codeArgument, "%s", message)
}

// soapOperation carries out one operation of the service and returns its
// response element.
func (q *request) soapOperation(n *node) (string, error) {
	name := n.XMLName.Local
	var result string
	var err error
	switch name {
	case "Create":
		var id string
		id, err = q.soapCreate(n.child("entity"))
		result = "<CreateResult>" + id + "</CreateResult>"
	case "Retrieve":
		var e string
		e, err = q.soapRetrieve(n.child("entityName").text(), n.child("id").text(), n.child("columnSet"))
		result = "<RetrieveResult>" + e + "</RetrieveResult>"
	case "RetrieveMultiple":
		var list string
		list, err = q.soapRetrieveMultiple(n.child("query"))
		result = "<RetrieveMultipleResult>" + list + "</RetrieveMultipleResult>"
	case "Update":
		err = q.soapUpdate(n.child("entity"))
	case "Delete":
		err = q.soapDelete(n.child("entityName").text(), n.child("id").text())
	case "Execute":
		var response string
		response, err = q.soapExecute(n.child("request"))
		result = "<ExecuteResult>" + response + "</ExecuteResult>"
	default:
		err = badMessage("The operation '" + name + "' is not supported.")
	}
	return "<" + name + `Response xmlns="` + servicesNamespace + `">` + result + "</" + name + "Response>", err
}

// soapCreate makes a record and returns its id.
func (q *request) soapCreate(n *node) (string, error) {
	t, id, e, err := q.readSOAPEntity(n, http.MethodPost)
	if err != nil {
		return "", err
	}
	return q.store(t, keyPart{id: id}, e)
}

func (q *request) soapUpdate(n *node) error {
	t, id, e, err := q.readSOAPEntity(n, http.MethodPatch)
	if err != nil {
		return err
	}
	if q.org.data.find(t, id) == nil {
		return noRecord(t, id)
	}
	return q.rewrite(t, id, e)
}

func (q *request) soapDelete(name, id string) error {
	t, id, err := q.soapRecord(name, id, http.MethodDelete)
	if err != nil {
		return err
	}
	q.org.data.remove(t, id)
	return nil
}

// soapRetrieve gives a record as the content of an Entity.
func (q *request) soapRetrieve(name, id string, columns *node) (string, error) {
	t, id, err := q.soapRecord(name, id, http.MethodGet)
	if err != nil {
		return "", err
	}
	shown, err := readColumnSet(t, columns)
	if err != nil {
		return "", err
	}
	return q.entityXML(t, q.org.data.find(t, id), shown), nil
}

// soapRecord finds the record that is meant, for a method of the Web API that
// does the same.
func (q *request) soapRecord(name, text, method string) (*table, string, error) {
	t, err := q.soapTable(name, method)
	if err != nil {
		return nil, "", err
	}
	id, ok := parseGUID(text)
	if !ok {
		return nil, "", badMessage("The id '" + text + "' is no GUID.")
	}
	if q.org.data.find(t, id) == nil {
		return nil, "", noRecord(t, id)
	}
	return t, id, nil
}

// soapTable finds a table by its logical name and checks that the caller may
// use it so.
func (q *request) soapTable(name, method string) (*table, error) {
	t := q.org.data.schema.table(name)
	if t == nil {
		return nil, faultf(http.StatusNotFound, "0x80041102", "The entity with a name = '%s' with namemapping = 'Logical' was not found in the MetadataCache.", name)
	}
	q.method = method
	return t, q.allow(t)
}

// child finds an element by its local names, one below the other; nil if there
// is none.
func (n *node) child(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		var found *node
		for i := range n.Nodes {
			if n.Nodes[i].XMLName.Local == name {
				found = &n.Nodes[i]
				break
			}
		}
		n = found
	}
	return n
}

// text is what stands in an element without white space around it; "" of none.
func (n *node) text() string {
	if n == nil {
		return ""
	}
	return strings.TrimSpace(n.Text)
}

// absent reports whether there is no element, or a null one.
func (n *node) absent() bool {
	if n == nil {
		return true
	}
	return isTrue(n.instance("nil"))
}

// instance gives an attribute of the namespace of schema instances; of a type,
// the name without its prefix.
func (n *node) instance(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Space == instanceNamespace && a.Name.Local == name {
			return a.Value[strings.IndexByte(a.Value, ':')+1:]
		}
	}
	return ""
}

// soapFaultOf gives err as it stands within the answer to several requests.
func soapFaultOf(err error) string {
	var f *fault
	if !errors.As(err, &f) {
		f = faultOf(err)
	}
	return faultXML(f.code, f.message, 0)
}
