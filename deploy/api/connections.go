package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// Bounds of trying connections.
const (
	testTimeout = 10 * time.Second
	maxTesting  = 32 // at once
)

// connectionAnswer is a connection without its login, and whether it has one.
type connectionAnswer struct {
	tenants.Connection
	HasLogin bool `json:"has_login"`
}

func showConnection(n tenants.Connection) connectionAnswer {
	return connectionAnswer{n, len(n.Login) > 0}
}

func (s *server) listConnections(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Connections(c.ctx(), c.tenant.Value.ID, q)
	return pageOf(c, p, err, showConnection)
}

// connection finds the path's connection.
func (c *call) connection() (store.Record[tenants.Connection], error) {
	name := c.r.PathValue("name")
	if tenants.CheckName(name) != nil {
		return store.Record[tenants.Connection]{}, noSuch("connection")
	}
	have, err := c.s.Store.Connection(c.ctx(), c.tenant.Value.ID, name)
	return have, noSuchIf(err, "connection")
}

// noSuchIf keeps what a client sent out of the answer where it names nothing.
func noSuchIf(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return noSuch(what)
	}
	return err
}

func (s *server) showConnection(c *call) error {
	have, err := c.connection()
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, showConnection(have.Value))
}

type connectionRequest struct {
	Address  string `json:"address"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// putConnection adds or replaces a connection. User and password are sealed before they are kept, and never shown.
func (s *server) putConnection(c *call) error {
	var in connectionRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	n := tenants.Connection{Tenant: c.tenant.Value.ID, Name: c.r.PathValue("name"), Address: in.Address, Changed: c.now.UTC(), By: c.who.Subject}
	if err := n.Check(); err != nil {
		return err
	}
	if in.Username != "" || in.Password != "" {
		u, err := url.Parse(n.Address) // Check has
		if err != nil {
			return err
		}
		u.User = url.UserPassword(in.Username, in.Password)
		if n.Login, err = s.seal(u.String()); err != nil {
			return err
		}
	}
	existed := false
	err := c.change(n.Name, nil, func(tx *store.Tx) error {
		have, err := tx.Connection(c.ctx(), n.Tenant, n.Name)
		existed = err == nil
		if err := c.matchOr(have.Revision, err); err != nil {
			return err
		}
		return tx.PutConnection(c.ctx(), n)
	})
	if err != nil {
		return err
	}
	have, err := c.connection()
	if err != nil {
		return err
	}
	return c.put(existed, "/v1/tenants/"+string(n.Tenant)+"/connections/"+n.Name, have.Revision, showConnection(have.Value))
}

func (s *server) deleteConnection(c *call) error {
	have, err := c.connection()
	if err != nil {
		return err
	}
	err = c.change(have.Value.Name, nil, func(tx *store.Tx) error {
		now, err := tx.Connection(c.ctx(), c.tenant.Value.ID, have.Value.Name)
		if err := c.matchThere(now.Revision, err); err != nil {
			return err
		}
		return tx.DeleteConnection(c.ctx(), c.tenant.Value.ID, have.Value.Name)
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

type testAnswer struct {
	OK     bool    `json:"ok"`
	Detail string  `json:"detail,omitempty"` // why not
	TookMS float64 `json:"took_ms"`
}

// testConnection tries to log in at a connection's server, now.
func (s *server) testConnection(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	have, err := c.connection()
	if err != nil {
		return err
	}
	if s.TestConnection == nil {
		return notOffered("trying connections")
	}
	if err := s.testing.take(); err != nil {
		return err
	}
	defer s.testing.leave()
	ctx, cancel := context.WithTimeout(c.ctx(), testTimeout)
	defer cancel()
	began := time.Now()
	err = s.TestConnection(ctx, have.Value)
	out := testAnswer{OK: err == nil, TookMS: float64(time.Since(began).Microseconds()) / 1000}
	if err != nil {
		out.Detail = clip(err.Error())
	}
	return c.json(http.StatusOK, out)
}

// seal encrypts what is not to be seen again.
func (s *server) seal(plain string) (tenants.Sealed, error) {
	if s.Seal == nil {
		return nil, notOffered("keeping secrets")
	}
	return s.Seal([]byte(plain))
}

// notOffered is what this installation is not set up for.
func notOffered(what string) *problem {
	return &problem{Status: http.StatusNotImplemented, Code: "not_offered", Title: "Not offered here", Detail: what + " is not set up on this platform",
		Next: "Ask an operator."}
}
