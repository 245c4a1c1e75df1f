package dataverse

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// epoch is the day on which every organization's clock begins.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// firstVersion is the row version before any write.
const firstVersion = 1000000

// row is one record. It does not change once it is stored: a write stores
// another row in its place, so that a reader may keep what it was given.
type row struct {
	id      string
	seq     int64 // order of creation
	version int64
	values  map[string]any // by logical column name; absent and nil are both null
}

// rows are the records of one table.
type rows struct {
	byID  map[string]*row
	order []string    // ids in order of creation
	gone  []tombstone // deleted records, oldest first
}

type tombstone struct {
	row     *row // as it last was
	version int64
}

// store is the data of one organization. Its owner guards it. Each change
// notes how it is undone, so that a change set can be taken back.
type store struct {
	schema  *schema
	orgID   string
	rows    map[string]*rows // by logical name of the table
	links   map[link]int64   // many-to-many links and the order in which they were made
	version int64            // of the last write
	made    int64            // records ever made, for their ids
	depth   int              // attempts that are under way
	undo    []func()         // how to take back their changes, oldest first
}

func newStore(orgID string, s *schema) *store {
	d := &store{schema: s, orgID: orgID, rows: map[string]*rows{}, links: map[link]int64{}, version: firstVersion}
	for _, t := range s.tables {
		d.rows[t.name] = &rows{byID: map[string]*row{}}
	}
	return d
}

// attempt runs f, which may fail half-way: its changes are kept only when it
// succeeds. Attempts may nest.
func (d *store) attempt(f func() error) error {
	mark := len(d.undo)
	d.depth++
	err := f()
	d.depth--
	if err != nil {
		for i := len(d.undo) - 1; i >= mark; i-- {
			d.undo[i]()
		}
		d.undo = d.undo[:mark]
	}
	if d.depth == 0 {
		d.undo = nil
	}
	return err
}

// note remembers how a change is undone while an attempt is under way.
func (d *store) note(undo func()) {
	if d.depth > 0 {
		d.undo = append(d.undo, undo)
	}
}

// now is the organization's clock: one second a write.
func (d *store) now() time.Time {
	return epoch.Add(time.Duration(d.version-firstVersion) * time.Second)
}

// guid derives an identifier from the organization and what it names.
func (d *store) guid(what string) string { return guidOf(d.orgID + "/" + what) }

// guidOf gives a GUID that depends on the text alone.
func guidOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (d *store) find(t *table, id string) *row { return d.rows[t.name].byID[id] }

// recall finds a record, or what it last was before it was deleted.
func (d *store) recall(t *table, id string) *row {
	held := d.rows[t.name]
	if r := held.byID[id]; r != nil {
		return r
	}
	for _, gone := range held.gone {
		if gone.row.id == id {
			return gone.row
		}
	}
	return nil
}

// all gives the rows of a table in order of creation.
func (d *store) all(t *table) []*row {
	held := d.rows[t.name]
	out := make([]*row, 0, len(held.order))
	for _, id := range held.order {
		out = append(out, held.byID[id])
	}
	return out
}

// insert stores a new record made by user. id may be "", then one is chosen.
func (d *store) insert(t *table, id string, values map[string]any, by author) *row {
	d.made++
	d.version++
	if id == "" {
		id = d.guid(fmt.Sprintf("%s/%d", t.name, d.made))
	}
	r := &row{id: id, seq: d.made, version: d.version, values: values}
	values[t.id] = id
	values["createdon"], values["createdby"] = d.now(), by.reference()
	values["createdonbehalfby"] = by.behalf()
	d.stamp(t, r, by)
	if t.stored("ownerid") != nil && values["ownerid"] == nil {
		values["ownerid"] = by.reference()
	}
	held := d.rows[t.name]
	held.byID[id] = r
	held.order = append(held.order, id)
	d.note(func() {
		delete(held.byID, id)
		held.order = held.order[:len(held.order)-1]
	})
	return r
}

// update stores a record's changed values and returns the row as it is then.
func (d *store) update(t *table, id string, changes map[string]any, by author) *row {
	held := d.rows[t.name]
	old := held.byID[id]
	d.version++
	values := make(map[string]any, len(old.values)+len(changes))
	for k, v := range old.values {
		values[k] = v
	}
	for k, v := range changes {
		values[k] = v
	}
	r := &row{id: id, seq: old.seq, version: d.version, values: values}
	d.stamp(t, r, by)
	held.byID[id] = r
	d.note(func() { held.byID[id] = old })
	return r
}

// stamp fills in what the platform keeps on each write.
func (d *store) stamp(t *table, r *row, by author) {
	r.values["modifiedon"], r.values["versionnumber"] = d.now(), r.version
	if by.user != "" {
		r.values["modifiedby"] = by.reference()
	}
	if t.stored("fullname") != nil {
		first, _ := r.values["firstname"].(string)
		last, _ := r.values["lastname"].(string)
		r.values["fullname"] = strings.TrimSpace(first + " " + last)
	}
}

// remove deletes a record; lookups that led to it become null and its links
// end.
func (d *store) remove(t *table, id string) {
	held := d.rows[t.name]
	old := held.byID[id]
	at := slices.Index(held.order, id)
	d.version++
	delete(held.byID, id)
	held.order = slices.Delete(held.order, at, at+1)
	held.gone = append(held.gone, tombstone{old, d.version})
	d.note(func() {
		held.byID[id] = old
		held.order = slices.Insert(held.order, at, id)
		held.gone = held.gone[:len(held.gone)-1]
	})
	d.release(reference{t.name, id})
	for l := range d.links {
		if l.left == id || l.right == id {
			d.unlink(l)
		}
	}
}

// release sets every lookup that leads to target to null.
func (d *store) release(target reference) {
	for _, t := range d.schema.tables {
		held := d.rows[t.name]
		for _, c := range t.columns {
			if c.kind != kindLookup || c.fixed || c.name == "ownerid" {
				continue
			}
			for _, id := range held.order {
				if held.byID[id].values[c.name] == target {
					d.update(t, id, map[string]any{c.name: nil}, author{})
				}
			}
		}
	}
}

// author is who writes: the user that a record is stamped with and, under
// impersonation, the user who really called.
type author struct {
	user   string // systemuserid
	caller string // systemuserid of the real caller, "" without impersonation
}

// reference gives the user as a lookup's value; a nameless author leaves none.
func (a author) reference() any {
	if a.user == "" {
		return nil
	}
	return reference{"systemuser", a.user}
}

func (a author) behalf() any {
	if a.caller == "" {
		return nil
	}
	return reference{"systemuser", a.caller}
}
