package dataverse

import "strings"

// keyPart is a record's key in a URL: an id, or an alternate key's values.
type keyPart struct {
	id     string
	values map[string]any // by logical column name
	text   string         // as it was given
}

// address narrows a set to the record with a key.
func (q *request) address(at *target, key string) error {
	keys, err := q.parseKey(at.table, key)
	if err != nil {
		return err
	}
	at.keys, at.oneMeant = keys, true
	if r := q.org.data.lookup(at.table, keys); r != nil {
		at.id = r.id
	}
	return nil
}

// parseKey reads the key of a record of table t.
func (q *request) parseKey(t *table, text string) (keyPart, error) {
	if id, ok := parseGUID(text); ok {
		return keyPart{id: id, text: id}, nil
	}
	args, err := parseArguments(text)
	if err != nil {
		return keyPart{}, err
	}
	key := keyPart{values: map[string]any{}, text: text}
	for _, a := range args {
		c := t.column(a.name)
		if c == nil {
			return keyPart{}, badQuery("The key in the request URI is not valid for resource '%s'.", t.edmType())
		}
		v, err := q.keyValue(t, c, a.value)
		if err != nil {
			return keyPart{}, err
		}
		key.values[c.name] = v
	}
	if id, ok := key.values[t.id].(string); ok && len(key.values) == 1 {
		return keyPart{id: id, text: text}, nil
	}
	if !t.hasKey(key.values) {
		return keyPart{}, badQuery("The specified key in the request URI is not a defined key of '%s'.", t.edmType())
	}
	return key, nil
}

// keyValue reads one value of a key, given as a literal or as a parameter.
func (q *request) keyValue(t *table, c *column, text string) (any, error) {
	opts, err := parseOptions(q.query)
	if err != nil {
		return nil, err
	}
	if text, err = opts.parameter(text); err != nil {
		return nil, err
	}
	switch c.kind {
	case kindText:
		if s, ok := unquote(text); ok {
			return s, nil
		}
	case kindGUID, kindLookup:
		if id, ok := parseGUID(text); ok {
			return id, nil
		}
	}
	return nil, badQuery("The value '%s' is not valid for the key '%s' of '%s'.", text, c.name, t.edmType())
}

// hasKey reports whether the values are those of one alternate key.
func (t *table) hasKey(values map[string]any) bool {
	for _, key := range t.keys {
		held := 0
		for _, name := range key {
			if values[name] != nil {
				held++
			}
		}
		if held == len(key) && held == len(values) {
			return true
		}
	}
	return false
}

// lookup finds the record with a key, or gives nil. Text is compared as the
// database does, without regard to case.
func (d *store) lookup(t *table, key keyPart) *row {
	if key.id != "" {
		return d.find(t, key.id)
	}
	for _, r := range d.all(t) {
		same := true
		for name, v := range key.values {
			same = same && sameKey(r.values[name], v)
		}
		if same {
			return r
		}
	}
	return nil
}

func sameKey(held, wanted any) bool {
	switch held := held.(type) {
	case string:
		return strings.EqualFold(held, wanted.(string))
	case reference:
		return held.id == wanted
	}
	return false
}
