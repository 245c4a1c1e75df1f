package refusal

import (
	"iter"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// Hint names what a known refusal means. It stands in the header
// Dynproxy-Hint, on which scripts rely.
type Hint string

// The hints.
const (
	ApplicationUserMissing Hint = "application_user_missing"
	PrivilegeMissing       Hint = "privilege_missing"
	UserDisabled           Hint = "user_disabled"
	IPFirewall             Hint = "ip_firewall"
	AppAccessDenied        Hint = "app_access_denied"
	Throttled              Hint = "throttled"
)

// hints are the known codes.
var hints = map[string]Hint{
	"0x80072560": ApplicationUserMissing,
	"0x80040220": PrivilegeMissing,
	"0x80048306": PrivilegeMissing,
	"0x80040225": UserDisabled,
	"0x8004d24b": UserDisabled,
	"0x80095ffe": IPFirewall,
	"0x80095ffc": AppAccessDenied,
	"0x80072321": Throttled,
	"0x80072322": Throttled,
	"0x80072326": Throttled,
}

// next is what is to be done, {org} being the organization's address and
// {client} the app's id.
var next = map[Hint]string{
	ApplicationUserMissing: `Create the application user: pac admin assign-user --environment {org} --user {client} --role "Basic User" --application-user`,
	PrivilegeMissing:       "Give the application user a security role.",
	UserDisabled:           "Enable the application user in the Power Platform admin center: Environments, the environment, Settings, Users + permissions, Application users.",
	IPFirewall:             "Let the organization's IP firewall allow this address, or application users, in the Power Platform admin center.",
	AppAccessDenied:        "Allow this app in the environment's app access control, in the Power Platform admin center.",
	Throttled:              "Wait as long as Retry-After says, and try again. The budget belongs to the application user: others who use it spend it too.",
}

// Codes are the known ones.
func Codes() iter.Seq[string] { return maps.Keys(hints) }

// Hint says what r means, "" if that is not known. A 429 is one, whatever its
// code.
func (r Refusal) Hint() Hint {
	if hint := hints[codeOf(r.Code)]; hint != "" || r.Status != http.StatusTooManyRequests {
		return hint
	}
	return Throttled
}

var privilege = regexp.MustCompile(`\bprv[A-Za-z0-9_]{1,100}\b`)

// Next is the sentence that says what is to be done about r, "" if it is not
// known: the one that check prints. org is the organization's address, client
// the app registration's id.
func (r Refusal) Next(org, client string) string {
	hint := r.Hint()
	if name := privilege.FindString(r.Message); hint == PrivilegeMissing && name != "" {
		return "Give the application user a security role with the privilege " + name + "."
	}
	return strings.NewReplacer("{org}", org, "{client}", client).Replace(next[hint])
}
