package kerberos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"dynproxy/internal/textfile"
)

// lookEvery is how often the keytab is looked at. A changed one counts when two
// looks agree, so that none is taken while it is being copied.
const lookEvery = 400 * time.Millisecond

// Open reads the keytab file at path, which must hold a key of service, a
// principal such as HTTP/proxy.corp.example or with @REALM behind it.
func Open(path, service string) (*Acceptor, error) {
	name, realm, _ := strings.Cut(service, "@")
	a := &Acceptor{path: path, realm: realm, service: types.NewPrincipalName(2, name)}
	content, err := textfile.ReadRaw(path)
	if err != nil {
		return nil, err
	}
	keys, err := a.parse(content)
	if err != nil {
		return nil, err
	}
	a.digest = sha256.Sum256(content)
	a.keys.Store(keys)
	return a, nil
}

// Watch reads the keytab again whenever its content changes, until ctx ends,
// and tells each time what came of it: nil when the new keys are in use, an
// error when the file cannot be used and the former ones stay.
func (a *Acceptor) Watch(ctx context.Context, told func(error)) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	taken, seen := a.digest, a.digest
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		content, err := textfile.ReadRaw(a.path)
		now := sha256.Sum256(content)
		if err != nil {
			now = sha256.Sum256([]byte(err.Error()))
		}
		settled := now == seen
		seen = now
		if !settled || now == taken {
			continue
		}
		taken = now
		var keys *keytab.Keytab
		if err == nil {
			keys, err = a.parse(content)
		}
		if err == nil {
			a.keys.Store(keys)
		}
		told(err)
	}
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
