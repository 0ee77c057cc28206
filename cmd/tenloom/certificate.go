package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certificate is what the API serves TLS with. Its files are read again when they change, so that a renewed one needs no restart; where the new
// ones cannot be used, the old one stays.
type certificate struct {
	now    atomic.Pointer[pair]
	looked atomic.Int64 // when the files were last looked at, in nanoseconds since 1970
	broken func(error)  // told of files that changed and cannot be used
}

// pair is a certificate as it was read.
type pair struct {
	tls.Certificate
	cert, key string // files
	stamp     string // of the files
}

// certificateAge is how long a certificate is used without a look at its files.
const certificateAge = 10 * time.Second

// certificate reads the certificate that is configured; nil means plain HTTP.
func (c *configuration) certificate() (*certificate, error) {
	if c.text("tls.cert") == "" {
		return nil, nil
	}
	one := &certificate{broken: func(error) {}}
	if err := one.read(c.text("tls.cert"), c.text("tls.key")); err != nil {
		return nil, fail(exitUsage, "tls.cert (%s): %w", c.values["tls.cert"].source, err)
	}
	return one, nil
}

// read takes these files, as they are now.
func (c *certificate) read(cert, key string) error {
	stamp := stampOf(cert, key) // before the files are read: a change in between is found later
	loaded, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	c.now.Store(&pair{loaded, cert, key, stamp})
	c.looked.Store(time.Now().UnixNano())
	return nil
}

func stampOf(files ...string) (s string) {
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			s += fmt.Sprintf("%d %d ", info.ModTime().UnixNano(), info.Size())
		}
	}
	return s
}

// get is tls.Config.GetCertificate. Of many handshakes at once one looks at the files.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now, last := time.Now().UnixNano(), c.looked.Load()
	p := c.now.Load()
	if now-last > int64(certificateAge) && c.looked.CompareAndSwap(last, now) && stampOf(p.cert, p.key) != p.stamp {
		if err := c.read(p.cert, p.key); err != nil {
			c.broken(err)
		}
		p = c.now.Load()
	}
	return &p.Certificate, nil
}
