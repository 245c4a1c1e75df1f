package dataverse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// readSOAPEntity reads an Entity for a method of the Web API that does the
// same. id is "" where it names none.
func (q *request) readSOAPEntity(n *node, method string) (t *table, id string, e *entry, err error) {
	t, err = q.soapTable(n.child("LogicalName").text(), method)
	if err != nil {
		return nil, "", nil, err
	}
	id, _ = parseGUID(n.child("Id").text())
	if id == nobody {
		id = ""
	}
	e = &entry{values: map[string]any{}}
	if attributes := n.child("Attributes"); attributes != nil {
		for i := range attributes.Nodes {
			pair := &attributes.Nodes[i]
			if err := q.readSOAPAttribute(t, e, pair.child("key").text(), pair.child("value")); err != nil {
				return nil, "", nil, err
			}
		}
	}
	if id == "" {
		id = e.id
	}
	return t, id, e, nil
}

func (q *request) readSOAPAttribute(t *table, e *entry, name string, n *node) error {
	c, err := fetchColumn(t, name)
	if err != nil {
		return err
	}
	if n.absent() {
		e.values[name] = nil
		return nil
	}
	if c.kind == kindLookup {
		ref, err := q.readSOAPReference(t, c, n)
		if err == nil && !c.fixed {
			e.values[name] = ref
		}
		return err
	}
	v, err := soapScalar(c, n)
	if err != nil {
		return err
	}
	return setColumn(t, e, c, v)
}

// readSOAPReference reads an EntityReference to a record that is there.
func (q *request) readSOAPReference(t *table, c *column, n *node) (any, error) {
	if kind := n.instance("type"); kind != "EntityReference" {
		return nil, wrongType(c, kind)
	}
	name, text := n.child("LogicalName").text(), n.child("Id").text()
	to := q.org.data.schema.table(name)
	id, ok := parseGUID(text)
	if to == nil || !ok || c.name != "ownerid" && t.navigation(c.name, name) == "" {
		return nil, badMessage("The reference to '" + name + "' with the id '" + text + "' does not fit '" + c.name + "'.")
	}
	if q.org.data.find(to, id) == nil {
		return nil, noRecord(to, id)
	}
	return reference{name, id}, nil
}

// soapTypes are the types in which values of a kind may come.
var soapTypes = map[kind]string{
	kindText: "string", kindMemo: "string", kindWhole: "int", kindDouble: "double", kindMoney: "Money", kindBoolean: "boolean",
	kindChoice: "OptionSetValue", kindInstant: "dateTime", kindDate: "dateTime", kindGUID: "guid", kindRowNumber: "long", kindFile: "guid",
}

// soapScalar gives a typed value as one of JSON. A value must say its type: it
// stands where anything may.
func soapScalar(c *column, n *node) (any, error) {
	if kind := n.instance("type"); kind != soapTypes[c.kind] {
		return nil, wrongType(c, kind)
	}
	switch c.kind {
	case kindText, kindMemo:
		return n.Text, nil
	case kindBoolean:
		return isTrue(n.text()), nil
	case kindMoney, kindChoice:
		return json.Number(n.child("Value").text()), nil
	case kindWhole, kindDouble, kindRowNumber:
		return json.Number(n.text()), nil
	case kindInstant, kindDate:
		return soapTime(c, n.text()), nil
	}
	return n.text(), nil
}

// soapTime gives a dateTime, which may lack its zone, as the column has it.
func soapTime(c *column, text string) string {
	if _, err := time.Parse("2006-01-02T15:04:05.999999999", text); err == nil {
		text += "Z"
	}
	if c.kind == kindDate {
		text, _, _ = strings.Cut(text, "T")
	}
	return text
}

func wrongType(c *column, kind string) error {
	return faultf(http.StatusBadRequest, codeArgument, "Incorrect attribute value type '%s' for the attribute '%s'.", kind, c.name)
}

// readColumnSet gives the columns that are shown, nil for all.
func readColumnSet(t *table, n *node) ([]*column, error) {
	if isTrue(n.child("AllColumns").text()) {
		return nil, nil
	}
	shown := []*column{}
	if columns := n.child("Columns"); columns != nil {
		for i := range columns.Nodes {
			c, err := fetchColumn(t, columns.Nodes[i].text())
			if err != nil {
				return nil, err
			}
			shown = append(shown, c)
		}
	}
	return shown, nil
}

// entityXML is the content of an Entity. Nulls are left out.
func (q *request) entityXML(t *table, r *row, shown []*column) string {
	var attributes, labels strings.Builder
	v := q.view(&preferences{})
	for _, c := range v.columns(&query{table: t, shown: shown}) {
		held := r.values[c.name]
		if held == nil {
			continue
		}
		attributes.WriteString(pairXML("a", c.name, q.valueXML(c, held)))
		label, ok := formatted(c, held)
		if ref, is := held.(reference); is {
			label, ok = q.org.data.title(ref).(string)
		}
		if ok {
			fmt.Fprintf(&labels, `<a:KeyValuePairOfstringstring><b:key>%s</b:key><b:value>%s</b:value></a:KeyValuePairOfstringstring>`, c.name, escapeXML(label))
		}
	}
	return `<a:Attributes>` + attributes.String() + `</a:Attributes><a:EntityState i:nil="true"/><a:FormattedValues>` + labels.String() +
		`</a:FormattedValues><a:Id>` + r.id + `</a:Id><a:KeyAttributes/><a:LogicalName>` + t.name + `</a:LogicalName><a:RelatedEntities/><a:RowVersion>` +
		strconv.FormatInt(r.version, 10) + `</a:RowVersion>`
}

// pairXML is a name with a value, which valueXML or typed has written.
func pairXML(prefix, name, value string) string {
	return "<" + prefix + ":KeyValuePairOfstringanyType><b:key>" + name + "</b:key>" + value + "</" + prefix + ":KeyValuePairOfstringanyType>"
}

func typed(kind, content string) string {
	return `<b:value i:type="` + kind + `">` + content + `</b:value>`
}

func guidXML(id string) string { return typed("d:guid", id) }

func (q *request) valueXML(c *column, v any) string {
	switch v := v.(type) {
	case bool:
		return typed("c:boolean", strconv.FormatBool(v))
	case money:
		return typed("a:Money", "<a:Value>"+v.String()+"</a:Value>")
	case float64:
		return typed("c:double", strconv.FormatFloat(v, 'f', -1, 64))
	case time.Time:
		return typed("c:dateTime", formatTime(v))
	case date:
		return typed("c:dateTime", v.String()+"T00:00:00Z")
	case *file:
		return guidXML(v.id)
	case reference:
		return typed("a:EntityReference", q.referenceXML(v))
	case int64:
		switch c.kind {
		case kindChoice:
			return typed("a:OptionSetValue", "<a:Value>"+strconv.FormatInt(v, 10)+"</a:Value>")
		case kindRowNumber:
			return typed("c:long", strconv.FormatInt(v, 10))
		}
		return typed("c:int", strconv.FormatInt(v, 10))
	}
	text, _ := v.(string)
	if c.kind == kindGUID {
		return guidXML(text)
	}
	return typed("c:string", escapeXML(text))
}

func (q *request) referenceXML(ref reference) string {
	name := `<a:Name i:nil="true"/>`
	if title, ok := q.org.data.title(ref).(string); ok {
		name = "<a:Name>" + escapeXML(title) + "</a:Name>"
	}
	return "<a:Id>" + ref.id + "</a:Id><a:KeyAttributes/><a:LogicalName>" + ref.table + "</a:LogicalName>" + name + `<a:RowVersion i:nil="true"/>`
}
