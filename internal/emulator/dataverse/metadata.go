package dataverse

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// serviceDocument lists the entity sets.
func (q *request) serviceDocument(opts options) (*answer, error) {
	if !q.reads() {
		return nil, badMethod(q.method)
	}
	if err := opts.only(); err != nil {
		return nil, err
	}
	prefer, err := parsePreferences(q.header)
	if err != nil {
		return nil, err
	}
	sets := list{}
	for _, t := range q.org.data.schema.tables {
		sets = append(sets, object{{"name", t.set}, {"kind", "EntitySet"}, {"url", t.set}})
	}
	return prefer.json(http.StatusOK, object{{"@odata.context", q.root + "$metadata"}, {"value", sets}}), nil
}

// metadataDocument describes the tables in CSDL. Like Dataverse's it holds no
// address of the organization.
func (q *request) metadataDocument(opts options) (*answer, error) {
	if !q.reads() {
		return nil, badMethod(q.method)
	}
	if err := opts.only("annotations"); err != nil {
		return nil, err
	}
	a := &answer{status: http.StatusOK, body: []byte(csdl(q.org.data.schema))}
	a.set("Content-Type", "application/xml")
	a.set("OData-Version", "4.0")
	return a, nil
}

func csdl(s *schema) string {
	var out strings.Builder
	out.WriteString(`<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>` +
		`<Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">` +
		`<EntityType Name="crmbaseentity" Abstract="true" />`)
	for _, t := range s.tables {
		writeEntityType(&out, s, t)
	}
	out.WriteString(csdlFunctions)
	out.WriteString(`<EntityContainer Name="System">`)
	for _, t := range s.tables {
		writeEntitySet(&out, s, t)
	}
	for _, name := range unbound {
		fmt.Fprintf(&out, `<FunctionImport Name="%s" Function="Microsoft.Dynamics.CRM.%[1]s" />`, name)
	}
	out.WriteString(`</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>`)
	return out.String()
}

// csdlFunctions declares the functions that the container imports.
const csdlFunctions = `<ComplexType Name="WhoAmIResponse"><Property Name="BusinessUnitId" Type="Edm.Guid" Nullable="false" />` +
	`<Property Name="UserId" Type="Edm.Guid" Nullable="false" /><Property Name="OrganizationId" Type="Edm.Guid" Nullable="false" /></ComplexType>` +
	`<ComplexType Name="RetrieveVersionResponse"><Property Name="Version" Type="Edm.String" Unicode="false" /></ComplexType>` +
	`<ComplexType Name="RetrieveCurrentOrganizationResponse" OpenType="true" />` +
	`<ComplexType Name="RetrieveTotalRecordCountResponse" OpenType="true" />` +
	`<EnumType Name="EndpointAccessType"><Member Name="Default" Value="0" /><Member Name="Internet" Value="1" /></EnumType>` +
	`<Function Name="WhoAmI"><ReturnType Type="mscrm.WhoAmIResponse" Nullable="false" /></Function>` +
	`<Function Name="RetrieveVersion"><ReturnType Type="mscrm.RetrieveVersionResponse" Nullable="false" /></Function>` +
	`<Function Name="RetrieveCurrentOrganization"><Parameter Name="AccessType" Type="mscrm.EndpointAccessType" Nullable="false" />` +
	`<ReturnType Type="mscrm.RetrieveCurrentOrganizationResponse" Nullable="false" /></Function>` +
	`<Function Name="RetrieveTotalRecordCount"><Parameter Name="EntityNames" Type="Collection(Edm.String)" Nullable="false" />` +
	`<ReturnType Type="mscrm.RetrieveTotalRecordCountResponse" Nullable="false" /></Function>`

func writeEntityType(out *strings.Builder, s *schema, t *table) {
	fmt.Fprintf(out, `<EntityType Name="%s" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="%s" /></Key>`, t.name, t.id)
	for _, c := range t.columns {
		fmt.Fprintf(out, `<Property Name="%s" Type="%s"`, c.wire(), edm[c.kind])
		if edm[c.kind] == "Edm.String" {
			out.WriteString(` Unicode="false"`)
		}
		if c.kind == kindMoney {
			out.WriteString(` Scale="Variable"`)
		}
		out.WriteString(` />`)
	}
	for _, nav := range t.singles {
		fmt.Fprintf(out, `<NavigationProperty Name="%s" Type="mscrm.%s" Nullable="true"><ReferentialConstraint Property="_%s_value" ReferencedProperty="%s" /></NavigationProperty>`,
			nav.name, nav.target, nav.column, s.table(nav.target).id)
	}
	for _, nav := range t.collections {
		fmt.Fprintf(out, `<NavigationProperty Name="%s" Type="Collection(mscrm.%s)" />`, nav.name, nav.target)
	}
	out.WriteString(`</EntityType>`)
}

func writeEntitySet(out *strings.Builder, s *schema, t *table) {
	fmt.Fprintf(out, `<EntitySet Name="%s" EntityType="Microsoft.Dynamics.CRM.%s">`, t.set, t.name)
	for _, nav := range t.singles {
		fmt.Fprintf(out, `<NavigationPropertyBinding Path="%s" Target="%s" />`, nav.name, s.table(nav.target).set)
	}
	for _, nav := range t.collections {
		fmt.Fprintf(out, `<NavigationPropertyBinding Path="%s" Target="%s" />`, nav.name, s.table(nav.target).set)
	}
	out.WriteString(`</EntitySet>`)
}

// escapeXML makes text fit for an XML element or attribute.
func escapeXML(s string) string {
	var out strings.Builder
	xml.EscapeText(&out, []byte(s))
	return out.String()
}
