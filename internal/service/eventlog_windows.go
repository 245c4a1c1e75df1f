package service

import (
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/eventlog"
)

// toEventLog returns what writes to Windows' Event Log, and opens it for the
// first event and after each that failed.
func toEventLog() func(Event, meaning, string) error {
	var log *eventlog.Log
	return func(e Event, m meaning, text string) (err error) {
		if log == nil {
			if log, err = eventlog.Open(serviceName); err != nil {
				return err
			}
		}
		switch m.level {
		case failure:
			err = log.Error(uint32(e), text)
		case warning:
			err = log.Warning(uint32(e), text)
		default:
			err = log.Info(uint32(e), text)
		}
		if err != nil {
			log.Close()
			log = nil
		}
		return err
	}
}

// registerEvents makes the service a source of events. Their texts are whole:
// the message file of Windows' own eventcreate command, which knows every id up
// to 1000, shows them as they are.
func registerEvents() error {
	eventlog.Remove(serviceName) // of an older version, or of nobody
	return eventlog.InstallAsEventCreate(serviceName, eventlog.Info|eventlog.Warning|eventlog.Error)
}

func unregisterEvents() error {
	err := eventlog.Remove(serviceName)
	if err == windows.ERROR_FILE_NOT_FOUND {
		return nil
	}
	return err
}
