package dataverse

import "strings"

// kind is the type of a column's values.
type kind int

const (
	kindText      kind = iota // string
	kindMemo                  // string, multiple lines
	kindWhole                 // int64
	kindDouble                // float64
	kindMoney                 // money
	kindBoolean               // bool
	kindChoice                // int64, one of the options
	kindInstant               // time.Time in UTC, whole seconds
	kindDate                  // date
	kindGUID                  // string, lower case
	kindLookup                // reference
	kindFile                  // *file
	kindRowNumber             // int64, the row version
)

// edm names the OData type of each kind.
var edm = map[kind]string{
	kindText: "Edm.String", kindMemo: "Edm.String", kindWhole: "Edm.Int32", kindDouble: "Edm.Double",
	kindMoney: "Edm.Decimal", kindBoolean: "Edm.Boolean", kindChoice: "Edm.Int32", kindInstant: "Edm.DateTimeOffset",
	kindDate: "Edm.Date", kindGUID: "Edm.Guid", kindLookup: "Edm.Guid", kindFile: "Edm.Guid", kindRowNumber: "Edm.Int64",
}

// option is one value of a choice or boolean column and what people see.
type option struct {
	value int64
	label string
}

// column is one column of a table.
type column struct {
	name    string
	kind    kind
	options []option // of a choice; of a boolean, those of 0 and 1
	max     int      // longest text in characters; 0 for no bound
	fixed   bool     // kept by the platform: what callers send is ignored
}

// wire is the column's name in JSON and in queries: lookups are seen as
// _name_value.
func (c *column) wire() string {
	if c.kind == kindLookup {
		return "_" + c.name + "_value"
	}
	return c.name
}

func (c *column) label(v int64) (string, bool) {
	for _, o := range c.options {
		if o.value == v {
			return o.label, true
		}
	}
	return "", false
}

// single is a single-valued navigation property: one target of a lookup.
type single struct {
	name   string
	column string
	target string // logical name
}

// collection is a collection-valued navigation property: the rows of target
// whose lookup column points here, or, where link is set, the rows that are
// linked many-to-many.
type collection struct {
	name   string
	target string // logical name
	column string
	link   string
}

// table describes one kind of record.
type table struct {
	name        string // logical name
	set         string // entity set name
	label       string // what people see
	id          string // primary key column
	title       string // primary name column
	columns     []*column
	singles     []single
	collections []collection
	keys        [][]string // alternate keys
}

// column finds a column by its name on the wire.
func (t *table) column(wire string) *column {
	for _, c := range t.columns {
		if c.wire() == wire {
			return c
		}
	}
	return nil
}

// stored finds a column by its logical name.
func (t *table) stored(name string) *column {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (t *table) single(name string) *single {
	for i := range t.singles {
		if t.singles[i].name == name {
			return &t.singles[i]
		}
	}
	return nil
}

func (t *table) collection(name string) *collection {
	for i := range t.collections {
		if t.collections[i].name == name {
			return &t.collections[i]
		}
	}
	return nil
}

// navigation names the single-valued property of a lookup column that leads to
// target, or "" if there is none.
func (t *table) navigation(column, target string) string {
	for _, s := range t.singles {
		if s.column == column && s.target == target {
			return s.name
		}
	}
	return ""
}

func (t *table) edmType() string { return "Microsoft.Dynamics.CRM." + t.name }

// schema is all tables of an organization. It does not change.
type schema struct {
	tables []*table
}

// table finds a table by its logical name.
func (s *schema) table(name string) *table {
	for _, t := range s.tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

// set finds a table by its entity set name.
func (s *schema) set(name string) *table {
	for _, t := range s.tables {
		if t.set == name {
			return t
		}
	}
	return nil
}

// cast finds a table by its qualified type name, with or without the '#' that
// JSON puts before it.
func (s *schema) cast(name string) *table {
	short, ok := strings.CutPrefix(strings.TrimPrefix(name, "#"), "Microsoft.Dynamics.CRM.")
	if !ok {
		return nil
	}
	return s.table(short)
}
