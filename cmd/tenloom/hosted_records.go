package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
	"github.com/tenloom/tenloom/tenants/store/kv/etcd"
)

func openRecords(ctx context.Context, c *configuration) (kv.Store, error) {
	if c.text("store.kind") == "etcd" {
		o := etcd.Options{Endpoints: c.list("store.endpoints"), Prefix: c.text("store.prefix"), User: c.text("store.user"), Password: c.text("store.password")}
		var err error
		if o.TLS, err = clientTLS(c.text("store.ca"), c.text("store.cert"), c.text("store.key")); err != nil {
			return nil, fail(exitUsage, "store: %w", err)
		}
		records, err := etcd.Open(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		return records, nil
	}
	records, err := bolt.Open(filepath.Join(c.stateDirectory(), "store.db"))
	switch {
	case errors.Is(err, kv.ErrLocked):
		return nil, fmt.Errorf("open store: %w\n  --state DIR names another place; several servers share an etcd", err)
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	}
	return records, nil
}

// clientTLS is nil where nothing is given: the system's authorities, and no certificate.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	if ca+cert+key == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", ca)
		}
	}
	if cert+key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

func openArtifacts(ctx context.Context, c *configuration) (a *artifact.Store, err error) {
	if url := c.text("artifacts"); url != "" {
		a, err = artifact.Open(ctx, url)
	} else {
		a, err = artifact.Folder(filepath.Join(c.stateDirectory(), "artifacts"))
	}
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return a, nil
}

// puller takes applications from the registries that the operator allows.
func (h *hosted) puller(c *configuration) (*oci.Puller, error) {
	p := &oci.Puller{Put: h.artifacts.Put, Credentials: c.text("registries.credentials")}
	if list := c.list("registries.allowed"); !slices.Equal(list, []string{"none"}) {
		p.Registries = list
	}
	if p.Credentials != "" {
		if _, err := os.Stat(p.Credentials); err != nil {
			return nil, fail(exitUsage, "registries.credentials: %w", err)
		}
	}
	return p, nil
}
