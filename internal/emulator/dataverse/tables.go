package dataverse

// newSchema describes the tables of every organization: a part of the standard
// tables with their standard names, and two custom columns of accounts with
// the prefix sample_.
func newSchema() *schema {
	return &schema{tables: []*table{
		accountTable(), contactTable(), opportunityTable(), taskTable(),
		systemUserTable(), businessUnitTable(), roleTable(),
	}}
}

func text(name string, max int) *column { return &column{name: name, kind: kindText, max: max} }
func memo(name string) *column          { return &column{name: name, kind: kindMemo, max: 1048576} }
func plain(name string, k kind) *column { return &column{name: name, kind: k} }
func choice(name string, options ...option) *column {
	return &column{name: name, kind: kindChoice, options: options}
}
func boolean(name string) *column {
	return &column{name: name, kind: kindBoolean, options: []option{{0, "No"}, {1, "Yes"}}}
}
func fixed(name string, k kind) *column { return &column{name: name, kind: k, fixed: true} }

// record gives a table its primary key, the columns that every record has, and
// their lookups.
func record(t *table) *table {
	t.columns = append([]*column{fixed(t.id, kindGUID)}, t.columns...)
	t.columns = append(t.columns,
		fixed("createdon", kindInstant), fixed("modifiedon", kindInstant), fixed("versionnumber", kindRowNumber),
		fixed("createdby", kindLookup), fixed("modifiedby", kindLookup), fixed("createdonbehalfby", kindLookup))
	t.singles = append(t.singles, single{"createdby", "createdby", "systemuser"},
		single{"modifiedby", "modifiedby", "systemuser"}, single{"createdonbehalfby", "createdonbehalfby", "systemuser"})
	return t
}

// owned is record for tables whose rows belong to a user.
func owned(t *table) *table {
	t.columns = append(t.columns, plain("ownerid", kindLookup))
	t.singles = append(t.singles, single{"ownerid", "ownerid", "systemuser"})
	return record(t)
}

func accountTable() *table {
	return owned(&table{
		name: "account", set: "accounts", label: "Account", id: "accountid", title: "name",
		columns: []*column{
			text("name", 160), text("accountnumber", 20), memo("description"), memo("sample_richtext"),
			text("emailaddress1", 100), text("telephone1", 50), text("websiteurl", 200),
			text("address1_city", 80), text("address1_country", 80), plain("address1_latitude", kindDouble),
			plain("numberofemployees", kindWhole), plain("revenue", kindMoney), boolean("creditonhold"),
			choice("industrycode", option{1, "Accounting"}, option{7, "Consulting"}, option{12, "Financial"}, option{19, "Inbound Repair and Services"}),
			choice("statecode", option{0, "Active"}, option{1, "Inactive"}),
			choice("statuscode", option{1, "Active"}, option{2, "Inactive"}),
			plain("sample_filecolumn", kindFile),
			plain("primarycontactid", kindLookup), plain("parentaccountid", kindLookup),
		},
		singles: []single{
			{"primarycontactid", "primarycontactid", "contact"}, {"parentaccountid", "parentaccountid", "account"},
		},
		collections: []collection{
			{name: "contact_customer_accounts", target: "contact", column: "parentcustomerid"},
			{name: "Account_Tasks", target: "task", column: "regardingobjectid"},
			{name: "opportunity_parent_account", target: "opportunity", column: "parentaccountid"},
			{name: "opportunity_customer_accounts", target: "opportunity", column: "customerid"},
			{name: "account_parent_account", target: "account", column: "parentaccountid"},
		},
		keys: [][]string{{"accountnumber"}},
	})
}

func contactTable() *table {
	return owned(&table{
		name: "contact", set: "contacts", label: "Contact", id: "contactid", title: "fullname",
		columns: []*column{
			fixed("fullname", kindText), text("firstname", 50), text("lastname", 50), text("jobtitle", 100),
			text("emailaddress1", 100), text("telephone1", 50), text("externaluseridentifier", 50),
			memo("description"), plain("birthdate", kindDate), boolean("donotemail"), plain("creditlimit", kindMoney),
			choice("statecode", option{0, "Active"}, option{1, "Inactive"}),
			choice("statuscode", option{1, "Active"}, option{2, "Inactive"}),
			plain("parentcustomerid", kindLookup),
		},
		singles: []single{
			{"parentcustomerid_account", "parentcustomerid", "account"}, {"parentcustomerid_contact", "parentcustomerid", "contact"},
		},
		collections: []collection{
			{name: "account_primary_contact", target: "account", column: "primarycontactid"},
			{name: "Contact_Tasks", target: "task", column: "regardingobjectid"},
			{name: "opportunity_parent_contact", target: "opportunity", column: "parentcontactid"},
			{name: "opportunity_customer_contacts", target: "opportunity", column: "customerid"},
			{name: "contact_customer_contacts", target: "contact", column: "parentcustomerid"},
		},
		keys: [][]string{{"externaluseridentifier"}},
	})
}

func opportunityTable() *table {
	return owned(&table{
		name: "opportunity", set: "opportunities", label: "Opportunity", id: "opportunityid", title: "name",
		columns: []*column{
			text("name", 300), memo("description"), plain("estimatedvalue", kindMoney), plain("estimatedclosedate", kindDate),
			plain("closeprobability", kindWhole),
			choice("statecode", option{0, "Open"}, option{1, "Won"}, option{2, "Lost"}),
			choice("statuscode", option{1, "In Progress"}, option{2, "On Hold"}, option{3, "Won"}, option{4, "Canceled"}),
			plain("parentaccountid", kindLookup), plain("parentcontactid", kindLookup), plain("customerid", kindLookup),
		},
		singles: []single{
			{"parentaccountid", "parentaccountid", "account"}, {"parentcontactid", "parentcontactid", "contact"},
			{"customerid_account", "customerid", "account"}, {"customerid_contact", "customerid", "contact"},
		},
		collections: []collection{{name: "Opportunity_Tasks", target: "task", column: "regardingobjectid"}},
	})
}

func taskTable() *table {
	return owned(&table{
		name: "task", set: "tasks", label: "Task", id: "activityid", title: "subject",
		columns: []*column{
			text("subject", 200), memo("description"), plain("scheduledstart", kindInstant), plain("scheduledend", kindInstant),
			plain("percentcomplete", kindWhole), choice("prioritycode", option{0, "Low"}, option{1, "Normal"}, option{2, "High"}),
			choice("statecode", option{0, "Open"}, option{1, "Completed"}, option{2, "Canceled"}),
			choice("statuscode", option{2, "Not Started"}, option{3, "In Progress"}, option{5, "Completed"}, option{6, "Canceled"}),
			plain("regardingobjectid", kindLookup),
		},
		singles: []single{
			{"regardingobjectid_account_task", "regardingobjectid", "account"},
			{"regardingobjectid_contact_task", "regardingobjectid", "contact"},
			{"regardingobjectid_opportunity_task", "regardingobjectid", "opportunity"},
		},
	})
}

func systemUserTable() *table {
	return record(&table{
		name: "systemuser", set: "systemusers", label: "User", id: "systemuserid", title: "fullname",
		columns: []*column{
			fixed("fullname", kindText), text("firstname", 256), text("lastname", 256), text("domainname", 1024),
			text("internalemailaddress", 100), plain("applicationid", kindGUID), plain("azureactivedirectoryobjectid", kindGUID),
			boolean("isdisabled"), choice("accessmode", option{0, "Read-Write"}, option{4, "Non-interactive"}),
			plain("businessunitid", kindLookup),
		},
		singles: []single{{"businessunitid", "businessunitid", "businessunit"}},
		collections: []collection{
			{name: "systemuserroles_association", target: "role", link: "systemuserroles"},
			{name: "user_accounts", target: "account", column: "ownerid"},
			{name: "user_task", target: "task", column: "ownerid"},
		},
	})
}

func businessUnitTable() *table {
	return record(&table{
		name: "businessunit", set: "businessunits", label: "Business Unit", id: "businessunitid", title: "name",
		columns: []*column{text("name", 160), boolean("isdisabled"), plain("parentbusinessunitid", kindLookup)},
		singles: []single{{"parentbusinessunitid", "parentbusinessunitid", "businessunit"}},
		collections: []collection{
			{name: "business_unit_system_users", target: "systemuser", column: "businessunitid"},
			{name: "business_unit_roles", target: "role", column: "businessunitid"},
		},
	})
}

func roleTable() *table {
	return record(&table{
		name: "role", set: "roles", label: "Security Role", id: "roleid", title: "name",
		columns: []*column{text("name", 100), plain("businessunitid", kindLookup)},
		singles: []single{{"businessunitid", "businessunitid", "businessunit"}},
		collections: []collection{
			{name: "systemuserroles_association", target: "systemuser", link: "systemuserroles"},
		},
		keys: [][]string{{"name", "businessunitid"}},
	})
}
