package egress

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"

	"dynproxy/internal/textfile"
)

// Roots are the system's and those of a file, which is read again when it has
// changed. While the new content cannot be used the old stays.
type Roots struct {
	file   string
	onRead func(error)

	mu     sync.Mutex // guards what follows
	looked time.Time
	sum    [sha256.Size]byte
	pool   *x509.CertPool
}

const rootsAge = time.Second // how old a look at the file may be

// OpenRoots reads file, as textfile.ReadCertificates does. onRead is told of each later
// change, with the error that makes it unusable or nil.
func OpenRoots(file string, onRead func(error)) (*Roots, error) {
	r := &Roots{file: file, onRead: onRead, looked: time.Now()}
	var err error
	if r.sum, err = sumOf(file); err != nil {
		return nil, err
	}
	if r.pool, err = readRoots(file); err != nil {
		return nil, err
	}
	return r, nil
}

// sumOf is the sum of what file holds; of its error where it cannot be read,
// so that each fault is told once.
func sumOf(file string) ([sha256.Size]byte, error) {
	text, err := textfile.ReadRaw(file)
	if err != nil {
		return sha256.Sum256([]byte(err.Error())), err
	}
	return sha256.Sum256(text), nil
}

// Pool returns the roots as they are now.
func (r *Roots) Pool() *x509.CertPool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < rootsAge {
		return r.pool
	}
	r.looked = time.Now()
	sum, err := sumOf(r.file)
	if sum == r.sum {
		return r.pool
	}
	r.sum = sum
	if err == nil {
		var pool *x509.CertPool
		if pool, err = readRoots(r.file); err == nil {
			r.pool = pool
		}
	}
	if r.onRead != nil {
		r.onRead(err)
	}
	return r.pool
}

// readRoots adds every certificate in file to the system's.
func readRoots(file string) (*x509.CertPool, error) {
	further, err := textfile.ReadCertificates(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, cert := range further {
		pool.AddCert(cert)
	}
	return pool, nil
}
