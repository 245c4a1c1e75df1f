package service

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/windows/registry"
)

// Windows gives a service the variables of this value of its key, as NAME=value.
const (
	serviceKey  = `SYSTEM\CurrentControlSet\Services\` + serviceName
	environment = "Environment"
)

// Environment is what the service's own environment adds to the system's, as
// NAME=value. A service sees here what has been changed since it was started.
func Environment() []string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, serviceKey, registry.QUERY_VALUE)
	if err != nil {
		return nil
	}
	defer key.Close()
	all, _, _ := key.GetStringsValue(environment)
	return all
}

// setVariable gives the service's environment a variable, or takes it away where
// value is "". What else is in it stays.
func setVariable(name, value string) error {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, serviceKey, registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer key.Close()
	all, _, err := key.GetStringsValue(environment)
	if err != nil && !errors.Is(err, registry.ErrNotExist) {
		return err
	}
	all = slices.DeleteFunc(all, func(entry string) bool {
		other, _, _ := strings.Cut(entry, "=")
		return strings.EqualFold(other, name)
	})
	if value != "" {
		all = append(all, name+"="+value)
	}
	if len(all) > 0 {
		return key.SetStringsValue(environment, all)
	}
	if err := key.DeleteValue(environment); !errors.Is(err, registry.ErrNotExist) {
		return err
	}
	return nil
}
