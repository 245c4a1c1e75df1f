package secret

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"dynproxy/internal/textfile"
)

// ReadFile returns the secret in the file at path: the only line that is not
// blank, without what editors and clipboards leave around it. The error holds
// nothing of the content.
func ReadFile(path string) (Text, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return Text{}, err
	}
	value := strings.TrimFunc(string(text), invisible)
	switch {
	case value == "":
		return Text{}, fmt.Errorf("%s cannot be used: it is empty", path)
	case strings.Contains(value, "\n"):
		return Text{}, fmt.Errorf("%s cannot be used: it holds more than the one line of a secret", path)
	}
	return Text{value}, nil
}

func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

var (
	guid        = regexp.MustCompile(`(?i)^\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?$`)
	settingLine = regexp.MustCompile(`(?i)^(export |set )?(DYNPROXY_)?CLIENT_SECRET(_NEXT)?\s*=`)
	quoted      = regexp.MustCompile(`^(".*"|'.*')$`)
	placeholder = regexp.MustCompile(`(?i)^(<.*>|\$\{.*\}|\{\{.*\}\}|change[-_ ]?me|your[-_ ].*|x{4,}|\.{3,}|0{8}(-0{4}){3}-0{12})$`)
)

// Placeholder reports whether value is what examples hold in the place of a
// real one.
func Placeholder(value string) bool { return placeholder.MatchString(strings.TrimSpace(value)) }

// CheckAppSecret returns the cure for a text that cannot be the secret of an
// app registration, though it was given as one.
func CheckAppSecret(t Text) error {
	switch {
	case Placeholder(t.value):
		return errors.New("is still the example's; put the secret's value there, which the portal shows once when the secret is made")
	case settingLine.MatchString(t.value):
		return errors.New("is a line of settings; put the secret's value alone there, without a name before it")
	case quoted.MatchString(t.value):
		return errors.New("stands in quotes; take them off: they would count as part of it")
	case guid.MatchString(t.value):
		return errors.New("is a GUID, and so the secret's id; paste its value, which the portal shows once when the secret is made")
	case strings.ContainsFunc(t.value, unicode.IsControl) || !utf8.ValidString(t.value):
		return errors.New("holds a line break or another character that no secret has; paste its value alone")
	}
	return nil
}
