package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func (s *server) listOperatorTokens(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Tokens(c.ctx(), "", q)
	return pageOf(c, p, err, same)
}

func (s *server) showOperatorToken(c *call) error {
	have, err := s.Store.Token(c.ctx(), "", tenants.TokenID(c.r.PathValue("id")))
	if err != nil {
		return noSuchIf(err, "token")
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

type operatorTokenRequest struct {
	Name      string          `json:"name"`
	Scopes    []tenants.Scope `json:"scopes"`
	Expires   *time.Time      `json:"expires"`
	ExpiresIn string          `json:"expires_in"`
}

// createOperatorToken makes a token for an operator and shows its text, this once. A token whose scopes are narrowed makes none that may do more.
func (s *server) createOperatorToken(c *call) error {
	var in operatorTokenRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	if own := c.who.Scopes; len(own) > 0 {
		beyond := func(one tenants.Scope) bool { return !slices.Contains(own, one) }
		if len(in.Scopes) == 0 || slices.ContainsFunc(in.Scopes, beyond) {
			return invalid(fault{Pointer: "/scopes", Code: "out_of_scope", Detail: "your own token is narrowed: name some of its scopes"})
		}
	}
	return s.makeToken(c, tenants.Token{Operator: true, Role: tenants.Owner, Scopes: in.Scopes, Name: in.Name}, lifetime{in.Expires, in.ExpiresIn}, "/v1/tokens/")
}

// revokeOperatorToken ends a token of an operator, unless it is the last one that may do everything: nobody could make another then.
func (s *server) revokeOperatorToken(c *call) error {
	id := tenants.TokenID(c.r.PathValue("id"))
	err := c.change(string(id), nil, func(tx *store.Tx) error {
		all, err := tx.Tokens(c.ctx(), "", store.Query{Limit: store.MaxPage})
		if err != nil {
			return err
		}
		others := slices.ContainsFunc(all.Items, func(r store.Record[tenants.Token]) bool {
			return r.Value.ID != id && r.Value.Good(c.now) == nil && len(r.Value.Scopes) == 0
		})
		if err := tx.RevokeToken(c.ctx(), "", id); err != nil || others {
			return err
		}
		return &problem{Status: http.StatusConflict, Code: "last_operator", Title: "The last operator's token", Detail: "without it nobody could operate the platform",
			Next: "Make another one first: tenloom tokens create NAME --operator."}
	})
	if err != nil {
		return noSuchIf(err, "token")
	}
	s.sessions.end(id)
	return c.empty(http.StatusNoContent)
}
