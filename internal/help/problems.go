package help

import "dynproxy/internal/problem"

// problems are the proxy's own refusals, in the order in which a call meets them.
var problems = []Entry{
	{
		Name:     string(problem.Unauthorized),
		Means:    "The proxy knows its callers, and this is none of them: no key, a wrong one, or a way to sign in that is not set up here, such as NTLM. For a stranger a tenant that does not exist looks the same.",
		Caller:   "Send the key as X-Api-Key, or the caller's name and key by HTTP Basic (a NetworkCredential in .NET, curl -u). The answer's WWW-Authenticate names the ways that are set up.",
		Operator: "A caller that is not there yet: dynproxy caller add NAME. A lost key: dynproxy caller rotate NAME. Who calls by Kerberos needs KEYTAB_FILE and a line PRINCIPALS in the caller's file.",
	},
	{
		Name:     string(problem.Forbidden),
		Means:    "The caller is known, or its address is, and this is not for it: another tenant, method, address, Host name or origin, a write by a caller that may only read, or a header that acts as somebody else (CallerObjectId, MSCRMCallerID) or goes round plug-ins (MSCRM.Bypass...). The message says which.",
		Caller:   "Leave the header out, or ask whoever runs the proxy to allow it.",
		Operator: "Change the caller's file (TENANTS, METHODS, CIDRS, READ_ONLY, IMPERSONATION), or for all callers ALLOW_CIDRS, ALLOWED_HOSTS, or the tenant's IMPERSONATION. dynproxy explain says which of them decides.",
	},
	{
		Name:     string(problem.TenantUnknown),
		Means:    "The path lacks the tenant, names one that is not here, or the tenant was removed while the call waited.",
		Caller:   "Write http://proxy:8080/<tenant>/api/data/v9.2/... A base address ends with a slash, or some libraries drop its last part. A library that drops the whole path needs a host name of its own (HOSTS).",
		Operator: "dynproxy tenant list names the tenants that are there, and those whose files have faults.",
	},
	{
		Name:     string(problem.PathNotAllowed),
		Means:    "The path lies outside of what callers of this tenant may use: /api/data/, /api/search/ and the Organization Service, unless PATHS says otherwise. A part of a batch is judged by the same rule.",
		Caller:   "Correct the path; a doubled or missing part is the usual cause.",
		Operator: "Add the prefix to the tenant's PATHS if it is meant.",
	},
	{
		Name:     string(problem.ReadOnly),
		Means:    "This writes, by its method, as a part of a batch or as a SOAP message, and the tenant is read-only for all. Nothing was sent. A caller that by its own file may only read gets forbidden instead.",
		Caller:   "Ask whoever runs the proxy whether the tenant may be written to.",
		Operator: "dynproxy tenant set NAME READ_ONLY= allows it for all; READ_ONLY in a caller's own file then holds that one to reading.",
	},
	{
		Name:     string(problem.BadRequest),
		Means:    "The request can be read in two ways, or not at all, or is too large: a space in the URL, a batch whose parts cannot be told apart, a link to another tenant, both Content-Length and Transfer-Encoding. The status is 413, 414 or 431 where a size is the reason.",
		Caller:   "The message names the place and the right spelling (%20 for a space). A query that is too long for a URL goes into a $batch.",
		Operator: "Sizes can be raised: MAX_URL_BYTES, MAX_HEADER_BYTES.",
	},
	{
		Name:     string(problem.LimitWaitExceeded),
		Means:    "The organization's budget for this app is used up, or the organization has asked to be left alone, and a place would come later than QUEUE_WAIT. error.code is Dataverse's own: 0x80072322 (requests), 0x80072321 (execution time) or 0x80072326 (at once). Nothing was sent.",
		Caller:   "Wait as long as Retry-After says, and send it again. Send less at once.",
		Operator: "See who uses the budget: dynproxy usage, and the portal's page of the tenant. Hold the large one by RATE in its caller's file or give others a larger WEIGHT. More in docs/limits.md.",
	},
	{
		Name:     string(problem.ConsentRequired),
		Means:    "The app registration has no service principal in the tenant: its administrator has not granted access, or has taken it back.",
		Caller:   "Send the link in the message to the tenant's administrator.",
		Operator: "dynproxy consent-url TENANT prints the link again. If consent was given, it may take a minute to be known; check that CLIENT_ID is the app that was consented to, and TENANT_ID the right tenant.",
	},
	{
		Name:     string(problem.CredentialRejected),
		Means:    "Entra ID does not accept the app's own secret, certificate or federated credential: it has expired, it is another app's, or the secret's id was pasted in place of its value. Every tenant of the registration is concerned.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "Make a new secret in the app registration, copy its Value (it is shown once), and write it into CLIENT_SECRET_FILE; it is taken up within a second. CLIENT_SECRET_NEXT_FILE holds a second one during a change.",
	},
	{
		Name:     string(problem.TenantMisconfigured),
		Means:    "Tenant, organization and app do not fit: a wrong TENANT_ID, an organization of another cloud or tenant, an address where no organization stands, or an app that the tenant has disabled or blocks by a policy.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "The message names the setting. dynproxy check TENANT shows the chain up to where it breaks.",
	},
	{
		Name:     string(problem.TokenUnavailable),
		Means:    "There is no valid token and none can be had now: Entra ID cannot be reached, is busy, or something answers in its place. Nothing was sent.",
		Caller:   "Wait as long as Retry-After says, and send it again.",
		Operator: "Let this machine connect to the login host (port 443), by HTTPS_PROXY if need be; name the CA of a box that inspects TLS in TRUSTED_CA_FILE. dynproxy check TENANT names the link that fails.",
	},
	{
		Name:     string(problem.TokenRefused),
		Means:    "The organization refuses a token that is fresh, or sends to its sign-in page. It comes as 502, since a 401 would make old clients ask for a password.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "ORG_URL and TENANT_ID do not belong together, as a rule. Take TENANT_ID out of the tenant's settings: the organization tells it. dynproxy check TENANT compares them.",
	},
	{
		Name:     string(problem.NotAnAnswer),
		Means:    "A web page came where an answer should be: of a box that inspects traffic, of a network that wants a click, or a sign-in page that came twice.",
		Caller:   "Nothing: tell whoever runs the proxy.",
		Operator: "Open the organization's address in a browser on this machine. What stands between has to let it through, or HTTPS_PROXY has to name the way.",
	},
	{
		Name:     string(problem.UpstreamUnreachable),
		Means:    "The organization could not be reached, or the connection broke before its answer. The message says at which step, and whether the request may have been carried out.",
		Caller:   "If nothing was sent, send it again. If it may have been carried out, look at the record before you send a write again.",
		Operator: "dynproxy check TENANT tries name, connection and TLS one by one. A firewall wants the host and port that it names; a name that leads to a private address, if that is right, goes into ALLOWED_ORG_HOSTS.",
	},
	{
		Name:     string(problem.UpstreamTimeout),
		Means:    "The organization was reached and gave no answer within UPSTREAM_TIMEOUT (six minutes unless it is set). The request may have been carried out.",
		Caller:   "Look at the record before you send a write again. Ask for less at once: fewer columns, smaller pages, smaller batches.",
		Operator: "Look at what lies between, then at the state of the environment in the Power Platform admin center.",
	},
	{
		Name:     string(problem.OutOfSpace),
		Means:    "A body that must be kept to be judged (a batch) finds no room on this machine. Nothing was sent.",
		Caller:   "Send smaller batches, or try again later.",
		Operator: "Make room in SPOOL_DIR, or raise SPOOL_MAX. /readyz says how full it is.",
	},
	{
		Name:     string(problem.Draining),
		Means:    "This proxy is being shut down or replaced. Nothing was sent.",
		Caller:   "Send it again, on a new connection.",
		Operator: "Give DRAIN_DELAY some seconds, so that callers and balancers leave before: docs/operations.md.",
	},
	{
		Name:     string(problem.Internal),
		Means:    "A fault of the proxy itself.",
		Caller:   "Send a read again. Look at the record before you send a write again.",
		Operator: "Report the line of level error in the log; leave data of yours out.",
	},
}
