package dataverse

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// soapRetrieveMultiple answers a FetchExpression or a QueryExpression with the
// content of an EntityCollection. Joined tables are refused.
func (q *request) soapRetrieveMultiple(n *node) (string, error) {
	root, err := soapQuery(n)
	if err != nil {
		return "", err
	}
	name := root.child("entity").attr("name")
	t, err := q.soapTable(name, "GET")
	if err != nil {
		return "", err
	}
	f, err := q.readFetchTree(t, root)
	if err != nil {
		return "", err
	}
	if len(f.root.links) > 0 {
		return "", notImplemented("Joined tables are not supported here.")
	}
	found := q.join(f)
	rest := f.skip(q.org.data, found)
	shown := rest[:min(f.size, len(rest))]
	more := len(shown) < len(rest) && !f.limited
	cookie := `<a:PagingCookie i:nil="true"/>`
	if more {
		next := bookmark{page: f.page + 1, last: shown[len(shown)-1].row.id, first: shown[0].row.id}
		cookie = "<a:PagingCookie>" + escapeXML(next.inner(t, "")) + "</a:PagingCookie>"
	}
	var entities strings.Builder
	for _, j := range shown {
		entities.WriteString("<a:Entity>" + q.entityXML(t, j.row, f.root.shown) + "</a:Entity>")
	}
	total := -1
	if f.total {
		total = min(len(found), maxPage)
	}
	return fmt.Sprintf("<a:Entities>%s</a:Entities><a:EntityName>%s</a:EntityName><a:MinActiveRowVersion>-1</a:MinActiveRowVersion><a:MoreRecords>%t</a:MoreRecords>%s<a:TotalRecordCount>%d</a:TotalRecordCount><a:TotalRecordCountLimitExceeded>%t</a:TotalRecordCountLimitExceeded>",
		entities.String(), t.name, more, cookie, total, f.total && len(found) > maxPage), nil
}

// soapQuery gives a query as the tree of a FetchXML query.
func soapQuery(n *node) (*node, error) {
	if n == nil {
		return nil, badMessage("The query is missing.")
	}
	switch kind := n.instance("type"); kind {
	case "FetchExpression":
		root := &node{}
		if err := xml.Unmarshal([]byte(n.child("Query").text()), root); err != nil {
			return nil, badQuery("Invalid XML in the FetchXML query: %v", err)
		}
		return root, nil
	case "QueryExpression":
		return queryExpression(n)
	default:
		return nil, badMessage("A query of the type '" + kind + "' is not supported.")
	}
}

// element makes an element of FetchXML; attributes without a value are left
// out.
func element(name string, attributes ...string) node {
	n := node{XMLName: xml.Name{Local: name}}
	for i := 0; i < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			n.Attrs = append(n.Attrs, xml.Attr{Name: xml.Name{Local: attributes[i]}, Value: attributes[i+1]})
		}
	}
	return n
}

func queryExpression(n *node) (*node, error) {
	if links := n.child("LinkEntities"); links != nil && len(links.Nodes) > 0 {
		return nil, notImplemented("Joined tables are not supported here.")
	}
	page := n.child("PageInfo")
	root := element("fetch", "top", positive(n.child("TopCount")), "count", positive(page.child("Count")), "page", positive(page.child("PageNumber")),
		"paging-cookie", page.child("PagingCookie").text(), "returntotalrecordcount", page.child("ReturnTotalRecordCount").text(), "distinct", n.child("Distinct").text())
	entity := element("entity", "name", n.child("EntityName").text())
	if columns := n.child("ColumnSet"); isTrue(columns.child("AllColumns").text()) {
		entity.Nodes = append(entity.Nodes, element("all-attributes"))
	} else if names := columns.child("Columns"); names != nil {
		for i := range names.Nodes {
			entity.Nodes = append(entity.Nodes, element("attribute", "name", names.Nodes[i].text()))
		}
	}
	if criteria := n.child("Criteria"); !criteria.absent() {
		filter, err := filterExpression(criteria)
		if err != nil {
			return nil, err
		}
		entity.Nodes = append(entity.Nodes, filter)
	}
	if orders := n.child("Orders"); orders != nil {
		for i := range orders.Nodes {
			down := strconv.FormatBool(orders.Nodes[i].child("OrderType").text() == "Descending")
			entity.Nodes = append(entity.Nodes, element("order", "attribute", orders.Nodes[i].child("AttributeName").text(), "descending", down))
		}
	}
	root.Nodes = []node{entity}
	return &root, nil
}

// positive gives a number, "" for one that is not set.
func positive(n *node) string {
	if text := n.text(); text != "0" {
		return text
	}
	return ""
}

func filterExpression(n *node) (node, error) {
	filter := element("filter", "type", strings.ToLower(n.child("FilterOperator").text()))
	if conditions := n.child("Conditions"); conditions != nil {
		for i := range conditions.Nodes {
			c, err := conditionExpression(&conditions.Nodes[i])
			if err != nil {
				return node{}, err
			}
			filter.Nodes = append(filter.Nodes, c)
		}
	}
	if filters := n.child("Filters"); filters != nil {
		for i := range filters.Nodes {
			inner, err := filterExpression(&filters.Nodes[i])
			if err != nil {
				return node{}, err
			}
			filter.Nodes = append(filter.Nodes, inner)
		}
	}
	return filter, nil
}

// conditionOperators are those of a QueryExpression in FetchXML.
var conditionOperators = map[string]string{
	"Equal": "eq", "NotEqual": "ne", "GreaterThan": "gt", "GreaterEqual": "ge", "LessThan": "lt", "LessEqual": "le", "Like": "like",
	"NotLike": "not-like", "In": "in", "NotIn": "not-in", "Between": "between", "Null": "null", "NotNull": "not-null", "BeginsWith": "begins-with", "EndsWith": "ends-with",
}

func conditionExpression(n *node) (node, error) {
	name := n.child("Operator").text()
	op, ok := conditionOperators[name]
	if !ok {
		return node{}, notImplemented("The condition operator '%s' is not supported.", name)
	}
	c := element("condition", "attribute", n.child("AttributeName").text(), "operator", op)
	if values := n.child("Values"); values != nil {
		for i := range values.Nodes {
			v := element("value")
			v.Text = values.Nodes[i].Text
			if inner := values.Nodes[i].child("Value"); inner != nil {
				v.Text = inner.text()
			}
			c.Nodes = append(c.Nodes, v)
		}
	}
	return c, nil
}
