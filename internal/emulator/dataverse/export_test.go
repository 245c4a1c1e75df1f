package dataverse

// AddAccounts adds n accounts to the seed data, for tests of long lists. Their
// names and account numbers carry on from the number of accounts there are.
func (o *Organization) AddAccounts(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data.seedAccounts(n)
}
