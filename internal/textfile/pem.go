package textfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrNoPEM is inside the error for a file without a single PEM block.
var ErrNoPEM = errors.New("it holds no PEM block (-----BEGIN ...-----)")

var (
	blockBegin = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----`)
	blockEdge  = regexp.MustCompile(`-----(BEGIN|END)\b`)
)

// ReadPEM returns the blocks of the PEM file at path and nothing between them,
// each as encoding/pem writes it, so that no reader behind it skips one in
// silence. A block that cannot be read is an error that names its number.
func ReadPEM(path string) ([]byte, error) {
	raw, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	blocks, err := decodeBlocks(raw)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w", path, err)
	}
	var out bytes.Buffer
	for _, b := range blocks {
		if err := pem.Encode(&out, b); err != nil {
			return nil, fmt.Errorf("%s cannot be used: %w", path, err)
		}
	}
	return out.Bytes(), nil
}

// decodeBlocks is pem.Decode without its leniency, which skips what it cannot
// read, and with more of another: files joined without a line end and lines
// with blanks around them are understood.
func decodeBlocks(raw []byte) ([]*pem.Block, error) {
	text, err := blockText(raw)
	if err != nil {
		return nil, err
	}
	var blocks []*pem.Block
	for {
		at := blockEdge.FindIndex(text)
		if at == nil {
			break
		}
		number := len(blocks) + 1
		begin := blockBegin.FindSubmatchIndex(text[at[0]:])
		if begin == nil || begin[0] != 0 {
			return nil, fmt.Errorf("block %d has no proper beginning (-----BEGIN ...-----); was a line lost?", number)
		}
		text = text[at[0]:]
		kind := string(text[begin[2]:begin[3]])
		body, rest, ended := bytes.Cut(text[begin[1]:], []byte("-----END "+kind+"-----"))
		if !ended || blockEdge.Match(body) {
			return nil, fmt.Errorf("block %d (%s) has no end; was the file cut off?", number, kind)
		}
		block := decodeBlock(kind, body)
		if block == nil {
			return nil, fmt.Errorf("block %d (%s) is damaged", number, kind)
		}
		blocks, text = append(blocks, block), rest
	}
	if len(blocks) == 0 {
		return nil, ErrNoPEM
	}
	return blocks, nil
}

// blockText is Decode for a file of blocks. Words between them count for nothing
// and may be of an old code page, as tools write the names of certificates.
func blockText(raw []byte) ([]byte, error) {
	text, err := Decode(raw)
	switch {
	case !errors.Is(err, errBinary):
		return text, err
	case !bytes.Contains(raw, []byte("-----BEGIN ")):
		return nil, ErrNoPEM
	case bytes.IndexByte(raw, 0) >= 0: // a part of it may be in UTF-16, and hold blocks
		return nil, err
	}
	return raw, nil
}

// decodeBlock returns nil for a body that is no base64.
func decodeBlock(kind string, body []byte) *pem.Block {
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	block, _ := pem.Decode([]byte("-----BEGIN " + kind + "-----\n" + strings.Join(lines, "\n") + "\n-----END " + kind + "-----\n"))
	if block == nil || len(block.Bytes) == 0 {
		return nil
	}
	return block
}

// ReadCertificates returns the certificates of the file at path: a bundle in
// PEM form, in which keys may stand too, or the binary form in which Windows
// exports. One that cannot be read is an error that names its number: a root
// that is lost in silence shows much later, and elsewhere.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	raw, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	if certs, err := x509.ParseCertificates(raw); err == nil && len(certs) > 0 {
		return certs, nil
	}
	fault := func(err error) error { return fmt.Errorf("%s cannot be used: %w", path, err) }
	blocks, err := decodeBlocks(raw)
	if err != nil {
		return nil, fault(err)
	}
	var certs []*x509.Certificate
	for i, b := range blocks {
		switch {
		case strings.HasSuffix(b.Type, "PRIVATE KEY"), strings.HasSuffix(b.Type, "PARAMETERS"):
			continue
		case b.Type != "CERTIFICATE" && b.Type != "X509 CERTIFICATE":
			return nil, fault(fmt.Errorf("block %d is a %s and not a certificate; take it out or convert it", i+1, b.Type))
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fault(fmt.Errorf("block %d is no certificate that can be read: %w", i+1, err))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fault(errors.New("it holds no certificate"))
	}
	return certs, nil
}
