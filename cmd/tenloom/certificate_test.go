package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestCertificate: a renewed certificate is served without a restart, and one that cannot be used leaves the old one.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, err := redistest.NewCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(name string) {
		t.Helper()
		c, k, err := ca.Client(name, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, cert, c)
		writeFile(t, key, k)
	}
	write("first")
	var broken error
	c := &certificate{broken: func(err error) { broken = err }}
	if err := c.read(cert, key); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.Subject.CommonName
	}
	write("second!") // another length, so that a clock that is coarse hides nothing
	if got := name(); got != "first" {
		t.Errorf("looked again at once: %s", got)
	}
	c.looked.Store(0)
	if got := name(); got != "second!" {
		t.Errorf("after a renewal: %s", got)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.looked.Store(0)
	if got := name(); got != "second!" || broken == nil {
		t.Errorf("after a broken renewal: %s, %v", got, broken)
	}
}
