package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"dynproxy/consent"
	"dynproxy/internal/envfile"
)

// longestPublisherName is in characters: it stands in headings.
const longestPublisherName = 80

// readPublisher judges who asks administrators for access. The logo is a file,
// which may come and go: see warnOfLogo.
func (c *config) readPublisher(faults *envfile.Faults) {
	c.PublisherName, c.PublisherContact = strings.TrimSpace(c.PublisherName), strings.TrimSpace(c.PublisherContact)
	if utf8.RuneCountInString(c.PublisherName) > longestPublisherName || !utf8.ValidString(c.PublisherName) || strings.ContainsFunc(c.PublisherName, unicode.IsControl) {
		faults.Add(prefix+"PUBLISHER_NAME", "must be a name of at most %d characters, in one line", longestPublisherName)
	}
	if c.PublisherContact != "" {
		if _, err := consent.ContactLink(c.PublisherContact); err != nil {
			faults.Add(prefix+"PUBLISHER_CONTACT", "%v, such as support@example.com", err)
		}
	}
}

func (c *config) publisher() consent.Publisher {
	return consent.Publisher{Name: c.PublisherName, Contact: c.PublisherContact, LogoFile: c.PublisherLogoFile}
}

// warnOfLogo tells of a logo that cannot be shown. Calls go on without it.
func (a *app) warnOfLogo() {
	file := a.config().PublisherLogoFile
	if file == "" {
		return
	}
	if _, _, err := consent.ReadLogo(file); err != nil {
		a.log.Warn().Err(err).Msg("pages of consent show no logo: " + prefix + "PUBLISHER_LOGO_FILE")
	}
}
