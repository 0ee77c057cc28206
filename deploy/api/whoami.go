package api

import (
	"net/http"

	"github.com/tenloom/tenloom/tenants"
)

type whoAnswer struct {
	Subject  string          `json:"subject"`
	Kind     string          `json:"kind"` // token or person
	Operator bool            `json:"operator"`
	Tenant   tenants.ID      `json:"tenant,omitempty"`
	Role     tenants.Role    `json:"role"`
	App      tenants.AppName `json:"app,omitempty"`
	Scopes   []tenants.Scope `json:"scopes"`
	Token    *tenants.Token  `json:"token,omitempty"`
}

// whoami tells the caller who they are here.
func (s *server) whoami(c *call) error {
	w := whoAnswer{Subject: c.who.Subject, Kind: "person", Operator: c.who.Operator, Tenant: c.who.Tenant, Role: c.who.Role, App: c.who.App,
		Scopes: c.who.Scopes, Token: c.token}
	if c.who.Token {
		w.Kind = "token"
	}
	if w.Scopes == nil {
		w.Scopes = []tenants.Scope{}
	}
	return c.json(http.StatusOK, w)
}
