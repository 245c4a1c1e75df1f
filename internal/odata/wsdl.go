package odata

import (
	"bytes"
	"io"
)

const maxWSDL = 32 << 20

// WSDL returns src, a WSDL or schema document of the organization, with the
// addresses in its attributes and elements led to the proxy. A document is read
// whole; one that is too large to be a WSDL passes as it is.
func (r *Rewriter) WSDL(src io.Reader) io.Reader { return &wsdlReader{r: r, src: src} }

type wsdlReader struct {
	r   *Rewriter
	src io.Reader
	out io.Reader
}

func (w *wsdlReader) Read(p []byte) (int, error) {
	if w.out == nil {
		text, err := io.ReadAll(io.LimitReader(w.src, maxWSDL+1))
		switch {
		case err != nil:
			w.out = io.MultiReader(bytes.NewReader(text), failing{err})
		case len(text) > maxWSDL:
			w.out = io.MultiReader(bytes.NewReader(text), w.src)
		default:
			w.out = bytes.NewReader(w.r.addresses(text))
		}
	}
	return w.out.Read(p)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// addresses rewrites every link that begins an attribute's value or the text
// of an element.
func (r *Rewriter) addresses(text []byte) []byte {
	var out []byte
	for {
		i := bytes.Index(text, []byte("http"))
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		text = text[i:]
		n := 0
		if len(out) > 0 && bytes.IndexByte([]byte(`"'>`), out[len(out)-1]) >= 0 {
			end := bytes.IndexAny(text, `"'<`)
			if end < 0 {
				end = len(text)
			}
			n = r.orgBase(string(text[:end]))
		}
		if n > 0 {
			out, text = append(out, r.Public...), text[n:]
		} else {
			out, text = append(out, text[0]), text[1:]
		}
	}
}
