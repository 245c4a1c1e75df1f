package onboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// administrator is somebody who has signed in and may create users, and how the
// organization is reached.
type administrator struct {
	organization string // https://host
	header       string // value of Authorization
	transport    http.RoundTripper
}

// errNoRole says that the organization has no role of the name.
var errNoRole = errors.New("the organization has no security role of that name")

// create makes the application user of clientID, unless it is there, and gives
// it the role called role, unless it has it. It returns the user's id. What
// was done before an error stays, and create goes on from there.
func (a administrator) create(ctx context.Context, clientID, role string) (userID string, err error) {
	unit, err := a.first(ctx, "businessunits", "businessunitid", "_parentbusinessunitid_value eq null")
	if err != nil {
		return "", fmt.Errorf("find the root business unit: %w", err)
	}
	if unit == "" {
		return "", errors.New("the organization shows no root business unit")
	}
	// The role first: a user without one is no use.
	roleID, err := a.first(ctx, "roles", "roleid", "name eq '"+strings.ReplaceAll(role, "'", "''")+"' and _businessunitid_value eq "+unit)
	if err != nil {
		return "", fmt.Errorf("find the role: %w", err)
	}
	if roleID == "" {
		return "", fmt.Errorf("%w: %s", errNoRole, role)
	}
	userID, err = a.first(ctx, "systemusers", "systemuserid", "applicationid eq "+clientID)
	if err != nil {
		return "", fmt.Errorf("look for the application user: %w", err)
	}
	if userID == "" {
		if userID, err = a.addUser(ctx, clientID, unit); err != nil {
			return "", fmt.Errorf("create the application user: %w", err)
		}
	}
	has, err := a.first(ctx, "systemusers("+userID+")/systemuserroles_association", "roleid", "roleid eq "+roleID)
	if err != nil {
		return userID, fmt.Errorf("look at its roles: %w", err)
	}
	if has != "" {
		return userID, nil
	}
	ref, err := json.Marshal(map[string]string{"@odata.id": a.organization + "/api/data/v9.2/roles(" + roleID + ")"})
	if err != nil {
		return userID, err
	}
	if _, err := a.send(ctx, http.MethodPost, "systemusers("+userID+")/systemuserroles_association/$ref", ref); err != nil {
		return userID, fmt.Errorf("give it the role %s: %w", role, err)
	}
	return userID, nil
}

var entityID = regexp.MustCompile(`\(([0-9A-Fa-f-]{36})\)$`)

func (a administrator) addUser(ctx context.Context, clientID, unit string) (string, error) {
	user, err := json.Marshal(map[string]string{"applicationid": clientID, "businessunitid@odata.bind": "/businessunits(" + unit + ")"})
	if err != nil {
		return "", err
	}
	got, err := a.send(ctx, http.MethodPost, "systemusers", user)
	if err != nil {
		return "", err
	}
	id := entityID.FindStringSubmatch(got.header.Get("OData-EntityId"))
	if id == nil {
		return "", errors.New("the organization does not say which user it created")
	}
	return id[1], nil
}

// first returns the column of the first row that filter finds, "" without one.
func (a administrator) first(ctx context.Context, set, column, filter string) (string, error) {
	got, err := a.send(ctx, http.MethodGet, set+"?$select="+column+"&$top=1&$filter="+queryValue(filter), nil)
	if err != nil {
		return "", err
	}
	var rows struct{ Value []map[string]any }
	if err := json.Unmarshal(got.body, &rows); err != nil {
		return "", errors.New("the answer is no list")
	}
	if len(rows.Value) == 0 {
		return "", nil
	}
	id, _ := rows.Value[0][column].(string)
	return id, nil
}

// queryValue escapes all that has a meaning in a query, '&', '+' and '#'
// included. A space is %20: not every server reads '+' as one.
func queryValue(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

type answer struct {
	header http.Header
	body   []byte
}

// send asks the organization; what is no success is an error in its own words.
func (a administrator) send(ctx context.Context, method, path string, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.organization+"/api/data/v9.2/"+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Authorization", a.header)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.transport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode/100 != 2 {
		var said struct {
			Error struct{ Code, Message string }
		}
		json.Unmarshal(text, &said) // what is none leaves the status alone
		return answer{}, fmt.Errorf("status %d %s %s", resp.StatusCode, said.Error.Code, said.Error.Message)
	}
	return answer{resp.Header, text}, nil
}
