package api

import (
	"errors"
	"net/http"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// listTenants lists all tenants, for operators.
func (s *server) listTenants(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Tenants(c.ctx(), q)
	return pageOf(c, p, err, same)
}

type tenantRequest struct {
	Name   tenants.ID      `json:"name"`
	Title  string          `json:"title"`
	Policy *tenants.Policy `json:"policy"`
}

// createTenant adds a tenant, with the default policy where the request has none.
func (s *server) createTenant(c *call) error {
	policy := tenants.DefaultPolicy()
	in := tenantRequest{Policy: &policy}
	if err := c.readJSON(&in); err != nil {
		return err
	}
	t := tenants.Tenant{ID: in.Name, Title: in.Title, State: tenants.TenantActive, Created: c.now.UTC(), Changed: c.now.UTC()}
	if err := both(t.Check(), "", s.checkPolicy(*in.Policy), "/policy"); err != nil {
		return err
	}
	s.rates.forget(t.ID)
	if err := c.change(string(t.ID), nil, func(tx *store.Tx) error { return tx.CreateTenant(c.ctx(), t, *in.Policy) }); err != nil {
		return err
	}
	s.Controller.TellPolicy(t.ID, *in.Policy)
	have, err := s.Store.Tenant(c.ctx(), t.ID)
	if err != nil {
		return err
	}
	return c.created("/v1/tenants/"+string(t.ID), have.Revision, have.Value)
}

// both puts two resources' faults together, the pointers of each below its own.
func both(first error, at string, second error, below string) error {
	var all tenants.Faults
	for _, of := range []struct {
		err error
		at  string
	}{{first, at}, {second, below}} {
		var faults tenants.Faults
		if of.err != nil && !errors.As(of.err, &faults) {
			return of.err
		}
		for _, f := range faults {
			f.Pointer = of.at + f.Pointer
			all = append(all, f)
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

func (s *server) showTenant(c *call) error {
	return c.one(http.StatusOK, c.tenant.Revision, c.tenant.Value)
}

type tenantPatch struct {
	Title *string `json:"title"`
}

// patchTenant changes what people read of a tenant.
func (s *server) patchTenant(c *call) error {
	var in tenantPatch
	if err := c.readJSON(&in); err != nil {
		return err
	}
	return s.putTenant(c, true, func(t *tenants.Tenant) {
		if in.Title != nil {
			t.Title = *in.Title
		}
	})
}

type reasonRequest struct {
	Reason string `json:"reason"`
}

// readReason reads the body of a verb, which may be left out.
func (c *call) readReason() (in reasonRequest, err error) {
	if c.r.ContentLength == 0 {
		return in, nil
	}
	return in, c.readJSON(&in)
}

// putTenant changes a tenant's record and answers with it.
func (s *server) putTenant(c *call, conditional bool, f func(*tenants.Tenant)) error {
	err := c.change(string(c.tenant.Value.ID), nil, func(tx *store.Tx) error {
		have, err := tx.Tenant(c.ctx(), c.tenant.Value.ID)
		if err != nil {
			return err
		}
		if err := c.match(have.Revision, conditional); err != nil {
			return err
		}
		f(&have.Value)
		return tx.PutTenant(c.ctx(), have.Value)
	})
	return s.tenantNow(c, err)
}

// suspendTenant stops everything of a tenant; reads go on.
func (s *server) suspendTenant(c *call) error {
	in, err := c.readReason()
	if err != nil {
		return err
	}
	_, err = s.Controller.SuspendTenant(c.ctx(), c.actor(), c.tenant.Value.ID, in.Reason)
	return s.tenantNow(c, err)
}

func (s *server) resumeTenant(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	_, err := s.Controller.ResumeTenant(c.ctx(), c.actor(), c.tenant.Value.ID)
	return s.tenantNow(c, err)
}

func (s *server) tenantNow(c *call, err error) error {
	if err != nil {
		return err
	}
	have, err := s.Store.Tenant(c.ctx(), c.tenant.Value.ID)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

// deleteTenant removes a tenant with everything that belongs to it, apart from its audit log.
func (s *server) deleteTenant(c *call) error {
	if err := c.match(c.tenant.Revision, false); err != nil {
		return err
	}
	id := c.tenant.Value.ID
	if err := s.Controller.DeleteTenant(c.ctx(), c.actor(), id); err != nil {
		return err
	}
	s.rates.forget(id)
	s.Tail.Forget(id)
	return c.empty(http.StatusNoContent)
}
