package consent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"strings"
)

// Publisher is who asks for access. What is not known is empty.
type Publisher struct {
	Name     string
	Contact  string // as ContactLink takes it
	LogoFile string // as ReadLogo takes it
}

// ContactLink is the link to a contact, which is a mail address or an https
// address.
func ContactLink(contact string) (string, error) {
	if u, err := url.Parse(contact); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil {
		return contact, nil
	}
	if a, err := mail.ParseAddress(contact); err == nil && a.Address == contact && !strings.ContainsAny(contact, "?&%/\"") {
		return "mailto:" + contact, nil
	}
	return "", errors.New("must be a mail address or an https:// address")
}

// ContactLink is the link to the contact, "" if there is none.
func (p Publisher) ContactLink() string {
	link, _ := ContactLink(p.Contact)
	return link
}

func (p Publisher) hasLogo() bool {
	_, _, err := ReadLogo(p.LogoFile)
	return err == nil
}

// largestLogo is in bytes. A logo is read anew for each page that shows it.
const largestLogo = 256 << 10

// ReadLogo returns the picture in the file at path and its media type. It must
// be PNG, JPEG or WebP by its content: other kinds, such as SVG, can hold
// scripts. The error names the cure.
func ReadLogo(path string) (content []byte, mediaType string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() { // a pipe would not even open before somebody writes to it
		return nil, "", fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, largestLogo+1))
	if err != nil {
		return nil, "", err
	}
	if len(content) > largestLogo {
		return nil, "", fmt.Errorf("%s is larger than %d KB: make the picture smaller", path, largestLogo>>10)
	}
	switch mediaType = http.DetectContentType(content); mediaType {
	case "image/png", "image/jpeg", "image/webp":
		return content, mediaType, nil
	}
	return nil, "", fmt.Errorf("%s is no PNG, JPEG or WebP: convert the picture", path)
}

// logo answers with the logo of who asks.
func (p *Pages) logo(w http.ResponseWriter, r *http.Request) {
	if p.Publisher == nil {
		http.NotFound(w, r)
		return
	}
	content, mediaType, err := ReadLogo(p.Publisher().LogoFile)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "max-age=300")
	io.Copy(w, bytes.NewReader(content)) // a reader who has left needs no error
}
