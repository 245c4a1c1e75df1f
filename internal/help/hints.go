package help

import "dynproxy/internal/refusal"

var hints = []Entry{
	{
		Name:     string(refusal.ApplicationUserMissing),
		Means:    "The token is good, and the organization has no application user for the app. Consent and application user are two things: this is the second.",
		Caller:   "Nothing: send Dynproxy-Next to whoever runs the proxy.",
		Operator: "The tenant's administrator creates the application user, by the line in Dynproxy-Next or in the Power Platform admin center: the environment, Settings, Users + permissions, Application users, New app user. An app of another company is not in the list: search for its id.",
	},
	{
		Name:     string(refusal.UserDisabled),
		Means:    "The application user is there, and disabled.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "The tenant's administrator enables it where application users are listed in the Power Platform admin center.",
	},
	{
		Name:     string(refusal.PrivilegeMissing),
		Means:    "The application user lacks a privilege for this table or operation. Dataverse's message names it (prvReadAccount and the like).",
		Caller:   "Check that the table is meant.",
		Operator: "Give the application user a security role that has it. A role of its own with what the callers need is better than System Administrator.",
	},
	{
		Name:     string(refusal.IPFirewall),
		Means:    "The environment's IP firewall does not let this address in.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "The tenant's administrator allows the address from which this machine reaches the internet, or application users in general, under Privacy + Security of the environment.",
	},
	{
		Name:     string(refusal.AppAccessDenied),
		Means:    "The environment lets only listed apps in, and this is none of them.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "The tenant's administrator allows the app's id in the environment's app access control.",
	},
	{
		Name:     string(refusal.Throttled),
		Means:    "The organization has had enough of this application user for now, although the proxy has kept within what it knows: others may use the same app.",
		Caller:   "Wait as long as Retry-After says, and send it again.",
		Operator: "Look who else uses the registration. The proxy learns the lower limit by itself: docs/limits.md.",
	},
}
