package dataverse

import (
	"fmt"
	"net/http"
	"strings"
)

// parameters are those of an OrganizationRequest, by name.
type parameters map[string]*node

func readParameters(n *node) parameters {
	out := parameters{}
	if n == nil {
		return out
	}
	for i := range n.Nodes {
		out[n.Nodes[i].child("key").text()] = n.Nodes[i].child("value")
	}
	return out
}

// soapExecute carries out an OrganizationRequest and returns the content of an
// OrganizationResponse. Parameters that leave plug-ins out change nothing here.
func (q *request) soapExecute(n *node) (string, error) {
	name := n.child("RequestName").text()
	given := readParameters(n.child("Parameters"))
	target := given["Target"]
	var results string
	var err error
	switch name {
	case "WhoAmI":
		for _, m := range q.whoAmI() {
			results += pairXML("a", m.name, guidXML(fmt.Sprint(m.value)))
		}
	case "RetrieveVersion":
		results = pairXML("a", "Version", typed("c:string", version))
	case "Create":
		var id string
		id, err = q.soapCreate(target)
		results = pairXML("a", "id", guidXML(id))
	case "Update":
		err = q.soapUpdate(target)
	case "Delete":
		err = q.soapDelete(target.child("LogicalName").text(), target.child("Id").text())
	case "Retrieve":
		var e string
		e, err = q.soapRetrieve(target.child("LogicalName").text(), target.child("Id").text(), given["ColumnSet"])
		results = pairXML("a", "Entity", typed("a:Entity", e))
	case "RetrieveMultiple":
		var list string
		list, err = q.soapRetrieveMultiple(given["Query"])
		results = pairXML("a", "EntityCollection", typed("a:EntityCollection", list))
	case "ExecuteMultiple":
		results, err = q.executeMultiple(given)
	case "ExecuteTransaction":
		results, err = q.executeTransaction(given)
	default:
		err = badMessage("The message '" + name + "' is not supported.")
	}
	return "<a:ResponseName>" + escapeXML(name) + "</a:ResponseName><a:Results>" + results + "</a:Results>", err
}

// innerRequests gives what ExecuteMultiple or ExecuteTransaction holds, neither
// of which may hold another.
func innerRequests(given parameters) ([]node, error) {
	list := given["Requests"]
	if list == nil || len(list.Nodes) == 0 || len(list.Nodes) > maxParts {
		return nil, badMessage(fmt.Sprintf("Between 1 and %d requests are needed.", maxParts))
	}
	for i := range list.Nodes {
		if name := list.Nodes[i].child("RequestName").text(); strings.HasPrefix(name, "Execute") {
			return nil, badMessage("The message '" + name + "' cannot stand in another of its kind.")
		}
	}
	return list.Nodes, nil
}

// executeMultiple carries requests out one by one; what fails does not undo the
// others.
func (q *request) executeMultiple(given parameters) (string, error) {
	list, err := innerRequests(given)
	if err != nil {
		return "", err
	}
	goOn, wanted := isTrue(given["Settings"].child("ContinueOnError").text()), isTrue(given["Settings"].child("ReturnResponses").text())
	var items strings.Builder
	faulted := false
	for i := range list {
		var response string
		err := q.org.data.attempt(func() (err error) {
			response, err = q.soapExecute(&list[i])
			return err
		})
		fault, answer := `<e:Fault i:nil="true"/>`, `<e:Response i:nil="true"/>`
		if err != nil {
			faulted = true
			fault = `<e:Fault xmlns="` + contractsNamespace + `">` + soapFaultOf(err) + "</e:Fault>"
		} else if wanted {
			answer = "<e:Response>" + response + "</e:Response>"
		}
		if err != nil || wanted {
			fmt.Fprintf(&items, "<e:ExecuteMultipleResponseItem>%s<e:RequestIndex>%d</e:RequestIndex>%s</e:ExecuteMultipleResponseItem>", fault, i, answer)
		}
		if err != nil && !goOn {
			break
		}
	}
	return pairXML("a", "IsFaulted", typed("c:boolean", fmt.Sprint(faulted))) +
		pairXML("a", "Responses", typed("e:ExecuteMultipleResponseItemCollection", items.String())), nil
}

// executeTransaction carries out all requests or none.
func (q *request) executeTransaction(given parameters) (string, error) {
	list, err := innerRequests(given)
	if err != nil {
		return "", err
	}
	var responses strings.Builder
	for i := range list {
		response, err := q.soapExecute(&list[i])
		if err != nil {
			f := faultOf(err)
			return "", faultf(http.StatusInternalServerError, f.code, "%s (request %d of the transaction)", f.message, i)
		}
		responses.WriteString("<a:OrganizationResponse>" + response + "</a:OrganizationResponse>")
	}
	return pairXML("a", "Responses", typed("a:OrganizationResponseCollection", responses.String())), nil
}
