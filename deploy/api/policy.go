package api

import (
	"encoding/json"
	"net/http"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// showPolicy shows what a tenant may do and keep.
func (s *server) showPolicy(c *call) error {
	have, err := s.Store.Policy(c.ctx(), c.tenant.Value.ID)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

// putPolicy replaces a policy. What the request leaves out gets its default.
func (s *server) putPolicy(c *call) error {
	b, err := c.readBody(maxJSON)
	if err != nil {
		return err
	}
	p := tenants.DefaultPolicy()
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	id := c.tenant.Value.ID
	err = c.change("", nil, func(tx *store.Tx) error {
		have, err := tx.Policy(c.ctx(), id)
		if err != nil {
			return err
		}
		if err := c.match(have.Revision, true); err != nil {
			return err
		}
		return tx.PutPolicy(c.ctx(), id, p)
	})
	if err != nil {
		return err
	}
	return s.showPolicy(c)
}
