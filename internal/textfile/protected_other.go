//go:build !windows

package textfile

import "errors"

func seal([]byte) ([]byte, error) {
	return nil, errors.New("protecting a secret for one machine is what Windows can do (DPAPI); here let only the proxy's user read the secret's file (chmod 600), or give it by systemd's LoadCredential")
}

func unseal([]byte) ([]byte, error) {
	return nil, errors.New("it was protected by Windows for the machine that made it, and no other can read it; put the secret itself into a file that only the proxy's user can read")
}
