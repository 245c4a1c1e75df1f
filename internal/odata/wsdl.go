package odata

import (
	"bytes"
	"io"
)

// WSDL gives a service description of the organization with its own addresses leading to the proxy: the attributes
// location and schemaLocation, and the elements Address. All other bytes are the source's, comments included.
func (r *Rewriter) WSDL(src io.Reader) io.Reader {
	return newStream(src, &wsdl{mapping: r.toPublic(), to: []byte(r.Public), until: "<"})
}

// EndpointsEnvelope is EndpointsBody for an answer of the Organization Service: the values within the element Endpoints of
// an OrganizationDetail.
func (r *Rewriter) EndpointsEnvelope(src io.Reader) io.Reader {
	return newStream(src, &wsdl{mapping: r.toPublic(), to: []byte(r.Public), until: "<", endpoints: true})
}

// wsdl is the editor of the addresses in XML.
type wsdl struct {
	mapping   mapping
	to        []byte
	endpoints bool // addresses are those of Endpoints, not those of a description

	until   string // what ends the text, the attribute's value or the comment at hand; empty within a tag
	name    []byte // within a tag and an attribute's value: the last name, without its prefix, while it is short
	gap     bool   // white space follows name
	element bool   // name is the element's
	address bool   // the last tag opened an element that holds an address
	begun   bool   // the beginning of an address, if one stands here, is decided
	depth   int    // how many elements are open
	within  int    // the depth of the Endpoints that are open, or 0
}

// longestXMLName is longer than any name that matters.
const longestXMLName = 32

func (x *wsdl) failed() error { return nil }

func (x *wsdl) reset() { *x = wsdl{mapping: x.mapping, to: x.to, endpoints: x.endpoints, until: "<"} }

func (x *wsdl) edit(w []byte, end bool) (pass, drop int, put []byte) {
	for pass < len(w) {
		rest := w[pass:]
		if x.until == "" {
			x.tag(rest[0])
			pass++
			continue
		}
		if x.wanted() && !space(rest[0]) {
			drop, known := x.swap(rest, end)
			if !known {
				return pass, 0, nil
			}
			x.begun = true
			if drop > 0 {
				return pass, drop, x.to
			}
		}
		n, known := x.skip(rest)
		pass += n
		if !known {
			return pass, 0, nil
		}
	}
	return pass, 0, nil
}

// wanted reports whether an address may begin here.
func (x *wsdl) wanted() bool {
	switch {
	case x.begun:
		return false
	case x.until == "<":
		return x.address
	}
	return !x.endpoints && (string(x.name) == "location" || string(x.name) == "schemaLocation")
}

// swap gives how many bytes of an address to replace, and reports false when w ends before that is known.
func (x *wsdl) swap(w []byte, end bool) (drop int, known bool) {
	reach := x.mapping.reach()
	link := w[:min(len(w), reach)]
	if i := bytes.IndexAny(link, "\"'< \t\r\n"); i >= 0 {
		link = link[:i]
	} else if len(link) < reach {
		return 0, end
	}
	return max(0, find(&x.mapping, link).n), true
}

// skip passes to the end of what is at hand. White space before an address is passed by itself.
func (x *wsdl) skip(w []byte) (n int, known bool) {
	if !x.begun && space(w[0]) && x.wanted() {
		return 1, true
	}
	i := bytes.Index(w, []byte(x.until))
	if i < 0 {
		// The end may begin here and go on in what follows.
		n = max(0, len(w)-len(x.until)+1)
		return n, n == len(w)
	}
	if x.until == "<" {
		if i > 0 {
			return i, true
		}
		return x.open(w)
	}
	n = i + len(x.until)
	if len(x.until) == 1 {
		x.enter("")
		return n, true
	}
	x.enter("<")
	return n, true
}

// enter goes on in what until ends.
func (x *wsdl) enter(until string) {
	x.until, x.begun = until, false
	x.name, x.gap = x.name[:0], false
}

// open reads what begins with '<': a tag, or something that holds neither addresses nor tags.
func (x *wsdl) open(w []byte) (n int, known bool) {
	for _, other := range [...]struct{ open, close string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		k := min(len(w), len(other.open))
		if string(w[:k]) == other.open[:k] {
			if k < len(other.open) {
				return 0, false
			}
			x.enter(other.close)
			x.begun = true
			return k, true
		}
	}
	x.enter("")
	x.element, x.address = true, false
	return 1, true
}

// tag reads a byte within a tag.
func (x *wsdl) tag(c byte) {
	if x.element && (space(c) || c == '>' || c == '/' && len(x.name) > 0) {
		x.address, x.element = x.opened(), false
	}
	switch {
	case c == '>':
		x.enter("<")
	case c == '"' || c == '\'':
		x.until, x.begun = string(c), false
	case c == '/':
		// An element that ends where it begins, and the end of an element, hold no text.
		x.address, x.element = false, false
		if x.depth--; x.depth < x.within {
			x.within = 0
		}
	case c == ':':
		x.name = x.name[:0]
	case space(c):
		x.gap = true
	case c != '=' && x.gap:
		x.name, x.gap = append(x.name[:0], c), false
	case c != '=' && len(x.name) < longestXMLName:
		x.name = append(x.name, c)
	}
}

// opened goes into the element name, and reports whether it holds an address.
func (x *wsdl) opened() bool {
	x.depth++
	switch {
	case !x.endpoints:
		return string(x.name) == "Address"
	case x.within == 0 && string(x.name) == "Endpoints":
		x.within = x.depth
	}
	return x.within > 0 && string(x.name) == "value"
}
