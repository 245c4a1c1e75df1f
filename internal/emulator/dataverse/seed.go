package dataverse

import (
	"fmt"
	"strings"
	"time"
)

// administrator is the role whose holders may do everything.
const administrator = "System Administrator"

// seed fills an empty store: a business unit with its roles and users, 36
// accounts, 72 contacts, 24 opportunities and 48 tasks that lead to each other.
func (d *store) seed(name string) {
	root := d.plant("businessunit", 1, map[string]any{"name": name, "isdisabled": false})
	unit := reference{"businessunit", root.id}
	for i, role := range []string{administrator, "System Customizer", "Delegate"} {
		d.plant("role", i+1, map[string]any{"name": role, "businessunitid": unit})
	}
	for i, user := range []string{"Nina Alvarez", "Tom Becker", "Priya Chandra"} {
		first, last, _ := strings.Cut(user, " ")
		person := d.plant("systemuser", i+1, map[string]any{
			"firstname": first, "lastname": last, "businessunitid": unit, "isdisabled": false, "accessmode": int64(0),
			"domainname":                   strings.ToLower(first) + "@" + name + ".example",
			"internalemailaddress":         strings.ToLower(first) + "@" + name + ".example",
			"azureactivedirectoryobjectid": d.guid(fmt.Sprintf("entra/%d", i+1)),
		})
		d.grant(person.id)
	}
	d.seedAccounts(36)
	d.seedContacts(72)
	d.seedOpportunities(24)
	d.seedTasks(48)
}

// plant inserts the nth seed row of a table as the first user's.
func (d *store) plant(name string, n int, values map[string]any) *row {
	by := author{user: d.guid("systemuser/seed/1")}
	return d.insert(d.schema.table(name), d.seedID(name, n), values, by)
}

// seedID is the id of the nth seed row of a table, counted from 1.
func (d *store) seedID(name string, n int) string { return d.guid(fmt.Sprintf("%s/seed/%d", name, n)) }

var (
	firms = []string{"Contoso", "Fabrikam", "Adventure Works", "Northwind Traders", "Litware", "Proseware",
		"Tailspin Toys", "Wide World Importers", "Alpine Ski House", "Coho Winery", "Blue Yonder", "Trey Research"}
	lines  = []string{"Retail", "Logistics & Söhne", "Partners \"East\""}
	cities = []string{"Redmond", "München", "São Paulo", "Lyon", "Cork", "O'Fallon"}
	given  = []string{"Susanna", "Nancy", "Maria", "Sidney", "Scott", "Robert", "Rene", "Paul", "Jim"}
	family = []string{"Stubberod", "Anderson", "Campbell", "Higa", "Konersmann", "Lyon", "Valdes", "Cannon"}
)

// seedAccounts adds n accounts after those that are there. Account numbers hold
// a slash, since keys that need escaping are where clients go wrong.
func (d *store) seedAccounts(n int) {
	have := len(d.rows["account"].order)
	for i := have + 1; i <= have+n; i++ {
		name := firms[(i-1)%len(firms)] + " " + lines[(i-1)/len(firms)%len(lines)]
		if i > len(firms)*len(lines) {
			name = fmt.Sprintf("%s %d", name, i)
		}
		values := map[string]any{
			"name": name, "accountnumber": fmt.Sprintf("A/%d", i), "emailaddress1": fmt.Sprintf("info%d@example.com", i),
			"telephone1": fmt.Sprintf("+1 425 555 %04d", i), "websiteurl": fmt.Sprintf("https://www%d.example.com/", i),
			"address1_city": cities[i%len(cities)], "address1_latitude": float64(i) + 0.25,
			"numberofemployees": int64(i * 10), "revenue": money(i) * 125000000, "creditonhold": i%5 == 0,
			"industrycode": []int64{1, 7, 12, 19}[i%4], "statecode": int64(0), "statuscode": int64(1),
			"description": seedDescription(i),
		}
		if i > 36 {
			d.plant("account", i, values)
			continue
		}
		values["primarycontactid"] = reference{"contact", d.seedID("contact", i)}
		if i > 30 {
			values["parentaccountid"] = reference{"account", d.seedID("account", i-30)}
		}
		d.plant("account", i, values)
	}
}

// seedDescription gives every third account a text that looks like what a
// proxy rewrites: it is data and must come back as it is.
func seedDescription(i int) any {
	switch i % 3 {
	case 0:
		return fmt.Sprintf(`<p>See <a href="https://contoso.crm.dynamics.com/api/data/v9.2/accounts?$top=%d">the list</a></p>`, i)
	case 1:
		return fmt.Sprintf("{\"@odata.nextLink\":\"https://contoso.crm.dynamics.com/api/data/v9.2/accounts?$skiptoken=%d\"}", i)
	}
	return nil
}

func (d *store) seedContacts(n int) {
	for i := 1; i <= n; i++ {
		first, last := given[i%len(given)], family[i%len(family)]
		d.plant("contact", i, map[string]any{
			"firstname": first, "lastname": last, "jobtitle": []string{"Purchasing Manager", "Owner", "Buyer"}[i%3],
			"emailaddress1":          fmt.Sprintf("%s.%s%d@example.com", strings.ToLower(first), strings.ToLower(last), i),
			"externaluseridentifier": fmt.Sprintf("C-%03d", i), "birthdate": date(fmt.Sprintf("19%02d-%02d-15", 50+i%45, 1+i%12)),
			"donotemail": i%4 == 0, "creditlimit": money(i) * 10000000, "statecode": int64(0), "statuscode": int64(1),
			"parentcustomerid": reference{"account", d.seedID("account", (i-1)%36+1)},
		})
	}
}

func (d *store) seedOpportunities(n int) {
	for i := 1; i <= n; i++ {
		account := reference{"account", d.seedID("account", (i-1)%12+1)}
		d.plant("opportunity", i, map[string]any{
			"name": fmt.Sprintf("%d machines for %s", i*3, firms[(i-1)%12]), "estimatedvalue": money(i) * 43210000,
			"estimatedclosedate": date(fmt.Sprintf("2026-%02d-28", 1+i%12)), "closeprobability": int64(i * 4 % 100),
			"statecode": int64(0), "statuscode": int64(1), "parentaccountid": account, "customerid": account,
			"parentcontactid": reference{"contact", d.seedID("contact", i)},
		})
	}
}

func (d *store) seedTasks(n int) {
	for i := 1; i <= n; i++ {
		about := reference{"account", d.seedID("account", (i-1)%8+1)}
		if i > 40 {
			about = reference{"opportunity", d.seedID("opportunity", i-40)}
		}
		d.plant("task", i, map[string]any{
			"subject": fmt.Sprintf("Task %02d: call %s", i, given[i%len(given)]), "percentcomplete": int64(i * 2 % 100),
			"scheduledend": epoch.Add(time.Duration(i) * 24 * time.Hour), "prioritycode": int64(i % 3),
			"statecode": int64(0), "statuscode": int64(2), "regardingobjectid": about,
		})
	}
}

// applicationUser finds the user with an application id, or gives nil.
func (d *store) applicationUser(applicationID string) *row {
	wanted := strings.ToLower(applicationID)
	for _, r := range d.all(d.schema.table("systemuser")) {
		if id, _ := r.values["applicationid"].(string); id != "" && id == wanted {
			return r
		}
	}
	return nil
}

// addApplicationUser makes the application user of an id in lower case.
func (d *store) addApplicationUser(applicationID string) string {
	user := d.insert(d.schema.table("systemuser"), d.guid("application/"+applicationID), map[string]any{
		"firstname": "#", "lastname": applicationID, "applicationid": applicationID, "isdisabled": false, "accessmode": int64(4),
		"azureactivedirectoryobjectid": d.guid("principal/" + applicationID),
		"businessunitid":               reference{"businessunit", d.seedID("businessunit", 1)},
	}, author{user: d.seedID("systemuser", 1)})
	d.grant(user.id)
	return user.id
}

// grant makes a user a system administrator.
func (d *store) grant(user string) {
	d.link(link{"systemuserroles", d.seedID("role", 1), user})
}

// privileged reports whether a user holds any security role.
func (d *store) privileged(user string) bool {
	for l := range d.links {
		if l.name == "systemuserroles" && l.right == user {
			return true
		}
	}
	return false
}
