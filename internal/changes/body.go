package changes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// longestBody is that of a file of settings, and some more for JSON.
const longestBody = 128 << 10

// bodyError is for a request that says nothing of use.
type bodyError struct {
	status  int
	message string
}

func (e *bodyError) Error() string { return e.message }

// readSettings reads the settings of a request: an object of the names that a
// file has, in any case of letters. A value is a text, a number, true or false,
// a list of them, or null, which removes the setting.
func readSettings(r *http.Request) (map[string]string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &bodyError{http.StatusUnsupportedMediaType, "settings are sent as application/json"}
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, longestBody+1))
	if err != nil {
		return nil, &bodyError{http.StatusBadRequest, "the body did not arrive whole"}
	}
	if len(text) > longestBody {
		return nil, &bodyError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", longestBody)}
	}
	values := make(map[string]string)
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errNoObject
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNoObject
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, errNoObject
		}
		setting := strings.ToUpper(name.(string))
		if _, twice := values[setting]; twice {
			return nil, &bodyError{http.StatusBadRequest, "the body names " + setting + " twice"}
		}
		if values[setting], err = asText(value); err != nil {
			return nil, &bodyError{http.StatusBadRequest, setting + " " + err.Error()}
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return values, nil
}

var errNoObject = &bodyError{http.StatusBadRequest, `the body must be a JSON object of settings, such as {"READ_ONLY": true}`}

// asText is value as a file of settings has it.
func asText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool, json.Number:
		return fmt.Sprint(v), nil
	case []any:
		var all []string
		for _, one := range v {
			text, err := asText(one)
			if _, nested := one.([]any); err != nil || nested || strings.Contains(text, ",") {
				return "", errNoValue
			}
			all = append(all, text)
		}
		return strings.Join(all, ","), nil
	}
	return "", errNoValue
}

var errNoValue = errors.New("must be a text, a number, true, false, null, or a list of texts without commas")
