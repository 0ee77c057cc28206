package api

import (
	"encoding/json"
	"net/http"

	"github.com/tenloom/tenloom/tenants"
)

// showPolicy shows what a tenant may do and keep.
func (s *server) showPolicy(c *call) error {
	have, err := s.Store.Policy(c.ctx(), c.tenant.Value.ID)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

func (s *server) checkPolicy(p tenants.Policy) error {
	if err := p.Check(); err != nil || s.CheckPolicy == nil {
		return err
	}
	return s.CheckPolicy(p)
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
	if err := s.checkPolicy(p); err != nil {
		return err
	}
	have, err := s.Store.Policy(c.ctx(), c.tenant.Value.ID)
	if err != nil {
		return err
	}
	if err := c.match(have.Revision, true); err != nil {
		return err
	}
	// The Controller holds the tag against what is there when it writes.
	if err := s.Controller.SetPolicy(c.ctx(), c.actor(), c.tenant.Value.ID, p, c.r.Header.Get("If-Match")); err != nil {
		return err
	}
	return s.showPolicy(c)
}
