package dataverse

import (
	"net/http"
)

// targets reads {"Targets":[...]}.
func (q *request) targets(t *table) ([]map[string]any, error) {
	body, err := q.decode()
	if err != nil {
		return nil, err
	}
	items, ok := body["Targets"].([]any)
	if !ok || len(items) == 0 {
		return nil, badPayload(t, "The parameter 'Targets' is missing or empty.")
	}
	var out []map[string]any
	for _, item := range items {
		target, ok := item.(map[string]any)
		if !ok || target["@odata.type"] == nil {
			return nil, badPayload(t, "Each of 'Targets' must be an object with '@odata.type'.")
		}
		out = append(out, target)
	}
	return out, nil
}

// createMultiple makes all records or none.
func (q *request) createMultiple(t *table, prefer *preferences) (*answer, error) {
	targets, err := q.targets(t)
	if err != nil {
		return nil, err
	}
	ids := list{}
	for _, target := range targets {
		id, err := q.insert(t, keyPart{}, target)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return prefer.json(http.StatusOK, q.response("CreateMultiple", object{{"Ids", ids}})), nil
}

// updateMultiple changes all records or none.
func (q *request) updateMultiple(t *table) (*answer, error) {
	targets, err := q.targets(t)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		text, _ := target[t.id].(string)
		id, _ := parseGUID(text)
		if q.org.data.find(t, id) == nil {
			return nil, noRecord(t, text)
		}
		if err := q.change(t, id, target); err != nil {
			return nil, err
		}
	}
	return q.noContent(), nil
}

// upsertMultiple changes the records that there are and makes the others, all
// or none. A target is named by its @odata.id or its primary key.
func (q *request) upsertMultiple(t *table) (*answer, error) {
	targets, err := q.targets(t)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		key, err := q.targetKey(t, target)
		if err != nil {
			return nil, err
		}
		if held := q.org.data.lookup(t, key); held != nil {
			err = q.change(t, held.id, target)
		} else {
			_, err = q.insert(t, key, target)
		}
		if err != nil {
			return nil, err
		}
	}
	return q.noContent(), nil
}

// targetKey finds the key by which a target is named.
func (q *request) targetKey(t *table, target map[string]any) (keyPart, error) {
	link, linked := target["@odata.id"].(string)
	if !linked {
		text, _ := target[t.id].(string)
		id, ok := parseGUID(text)
		if !ok {
			return keyPart{}, badPayload(t, "Each of 'Targets' must be named by '@odata.id' or '%s'.", t.id)
		}
		return keyPart{id: id, text: id}, nil
	}
	at, err := q.locateLink(link)
	if err != nil {
		return keyPart{}, err
	}
	if at.table != t {
		return keyPart{}, badPayload(t, "The link '%s' leads to another table.", link)
	}
	return at.keys, nil
}
