package kerberos

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"dynproxy/internal/reload"
	"dynproxy/internal/textfile"
)

// Open reads the keytab file at path, which must hold a key of service, a
// principal such as HTTP/proxy.corp.example or with @REALM behind it.
func Open(path, service string) (*Acceptor, error) {
	name, realm, _ := strings.Cut(service, "@")
	a := &Acceptor{path: path, realm: realm, service: types.NewPrincipalName(2, name)}
	keys, err := reload.Open(a.read, path)
	if err != nil {
		return nil, err
	}
	a.keys = keys
	return a, nil
}

// Watch reads the keytab again whenever its content changes, until ctx ends,
// and tells each time what came of it: nil when the new keys are in use, an
// error when the file cannot be used and the former ones stay.
func (a *Acceptor) Watch(ctx context.Context, told func(error)) { a.keys.Watch(ctx, told) }

func (a *Acceptor) read() (*keytab.Keytab, error) {
	content, err := textfile.ReadSecret(a.path)
	if err != nil {
		return nil, err
	}
	return a.parse(content)
}

// parse reads a keytab, in which there must be a key of the service.
func (a *Acceptor) parse(content []byte) (keys *keytab.Keytab, err error) {
	defer func() { // the reader was written for files that are whole
		if recover() != nil {
			keys, err = nil, fmt.Errorf("%s is no whole keytab", a.path)
		}
	}()
	keys = keytab.New()
	if len(content) == 0 {
		return nil, fmt.Errorf("keytab %s is empty", a.path)
	}
	if err := keys.Unmarshal(content); err != nil {
		return nil, errors.New("keytab " + a.path + " cannot be read: is it a keytab, as ktpass or ktutil write it?")
	}
	for _, entry := range keys.Entries {
		if strings.Join(entry.Principal.Components, "/") == a.service.PrincipalNameString() && (a.realm == "" || entry.Principal.Realm == a.realm) {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("keytab %s holds no key of %s; klist -k lists what it holds, with upper and lower case as they are", a.path, a.service.PrincipalNameString())
}
