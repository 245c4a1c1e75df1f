package service

import "strings"

// Event is what an administrator finds in Windows' Event Log, by its id there.
// An id means the same for ever; docs/event-log.md lists them.
type Event uint32

// The events.
const (
	Started          Event = 1
	Stopped          Event = 2
	Reloaded         Event = 3
	SettingsRefused  Event = 100
	ReloadRefused    Event = 101
	StartFailed      Event = 102
	EndedByError     Event = 103
	TokenFailure     Event = 200
	CredentialEnds   Event = 210
	CredentialEnded  Event = 211
	TenantBroken     Event = 300
	TenantRecovered  Event = 301
	CertificateEnds  Event = 310
	CertificateEnded Event = 311
)

// level is how bad an event is, as Event Viewer shows it.
type level string

const (
	information level = "Information"
	warning     level = "Warning"
	failure     level = "Error"
)

// meaning is what stands in an event beside its details.
type meaning struct {
	level level
	title string
	cure  string // "" where nothing is to be done
}

// meanings are those of all events.
var meanings = map[Event]meaning{
	Started:          {information, "The proxy serves", ""},
	Stopped:          {information, "The proxy has ended", ""},
	Reloaded:         {information, "The settings were read again", "If a setting is named that needs a restart, restart the service when that suits you."},
	SettingsRefused:  {failure, "The proxy cannot start: its settings cannot be used", "Correct what is named. The service is started again by itself, at the latest after five minutes."},
	ReloadRefused:    {warning, "The settings were read again and cannot be used; all of them stay what they were", "Correct what is named, and have them read again: dynproxy service reload"},
	StartFailed:      {failure, "The proxy cannot start", "Remove the cause that is named. The service is started again by itself, at the latest after five minutes."},
	EndedByError:     {failure, "The proxy has ended with an error", "The service is started again by itself. If that happens again, look at the log before it."},
	TokenFailure:     {failure, "A tenant gets no token", "Do what the event names as the next step; dynproxy check tells more."},
	CredentialEnds:   {warning, "A credential of the app ends soon", "Make a new one in the app registration and put it in place as the next secret, or replace the certificate's file."},
	CredentialEnded:  {failure, "A credential of the app has ended", "Make a new one in the app registration and put it in place now. No restart is needed where it is in a file."},
	TenantBroken:     {warning, "Calls of a tenant fail", "Do what the event names as the next step; dynproxy check tells more."},
	TenantRecovered:  {information, "A tenant works again", ""},
	CertificateEnds:  {warning, "A TLS certificate of this proxy ends soon", "Replace the files of certificate and key; they are read again by themselves."},
	CertificateEnded: {failure, "A TLS certificate of this proxy has ended", "Replace the files of certificate and key; they are read again by themselves."},
}

// mostText is how long an event may be, in bytes; Windows takes some more.
const mostText = 12 << 10

// text is the event as Event Viewer shows it.
func (m meaning) text(details string) string {
	text := m.title + "."
	if details = strings.TrimSpace(details); details != "" {
		text += "\r\n\r\n" + strings.ReplaceAll(strings.ReplaceAll(details, "\r\n", "\n"), "\n", "\r\n")
	}
	if len(text) > mostText {
		text = text[:mostText] + " ... (the rest is in the log)"
	}
	if m.cure != "" {
		text += "\r\n\r\nWhat to do: " + m.cure
	}
	return text
}
