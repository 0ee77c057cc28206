package api

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func (s *server) listMembers(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Members(c.ctx(), c.tenant.Value.ID, q)
	return pageOf(c, p, err, same)
}

func (s *server) showMember(c *call) error {
	have, err := s.Store.Member(c.ctx(), c.tenant.Value.ID, c.r.PathValue("subject"))
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

type memberRequest struct {
	Role tenants.Role `json:"role"`
}

// putMember adds a member or changes their role.
func (s *server) putMember(c *call) error {
	var in memberRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	m := tenants.Member{Tenant: c.tenant.Value.ID, Subject: c.r.PathValue("subject"), Role: in.Role, Added: c.now.UTC(), AddedBy: c.who.Subject}
	if err := m.Check(); err != nil {
		return err
	}
	existed := false
	err := c.change(m.Subject, map[string]string{"role": m.Role.String()}, func(tx *store.Tx) error {
		have, err := tx.Member(c.ctx(), m.Tenant, m.Subject)
		if existed = err == nil; existed {
			m.Added, m.AddedBy = have.Value.Added, have.Value.AddedBy
		}
		if err := c.matchOr(have.Revision, err); err != nil {
			return err
		}
		return tx.PutMember(c.ctx(), m)
	})
	if err != nil {
		return err
	}
	have, err := s.Store.Member(c.ctx(), m.Tenant, m.Subject)
	if err != nil {
		return err
	}
	return c.put(existed, "/v1/tenants/"+string(m.Tenant)+"/members/"+url.PathEscape(m.Subject), have.Revision, have.Value)
}

func (s *server) deleteMember(c *call) error {
	subject := c.r.PathValue("subject")
	err := c.change(subject, nil, func(tx *store.Tx) error {
		have, err := tx.Member(c.ctx(), c.tenant.Value.ID, subject)
		if err := c.matchThere(have.Revision, err); err != nil {
			return err
		}
		return tx.DeleteMember(c.ctx(), c.tenant.Value.ID, subject)
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// matchOr holds a record that may be there or not, as err says, against If-Match and If-None-Match.
func (c *call) matchOr(r store.Revision, err error) error {
	switch there := err == nil; {
	case !there && !errors.Is(err, store.ErrNotFound):
		return err
	case there && c.r.Header.Get("If-None-Match") == "*":
		return store.ErrMismatch
	case there:
		return c.match(r, false)
	case c.r.Header.Get("If-Match") != "":
		return store.ErrMismatch
	}
	return nil
}

// matchThere is match for a record that has to be there.
func (c *call) matchThere(r store.Revision, err error) error {
	if err != nil {
		return err
	}
	return c.match(r, false)
}

// put answers a PUT: 201 where it made the resource, else 200.
func (c *call) put(existed bool, path string, r store.Revision, v any) error {
	if existed {
		return c.one(http.StatusOK, r, v)
	}
	return c.created(path, r, v)
}
