package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// maxTokenLife is how long a token may be good for.
const maxTokenLife = 366 * 24 * time.Hour

func (s *server) listTokens(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Tokens(c.ctx(), c.tenant.Value.ID, q)
	return pageOf(c, p, err, same)
}

func (s *server) showToken(c *call) error {
	have, err := s.Store.Token(c.ctx(), c.tenant.Value.ID, tenants.TokenID(c.r.PathValue("id")))
	if err != nil {
		return noSuchIf(err, "token")
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

type tokenRequest struct {
	Name      string          `json:"name"`
	Role      tenants.Role    `json:"role"`
	App       tenants.AppName `json:"app"`
	Scopes    []tenants.Scope `json:"scopes"`
	Expires   *time.Time      `json:"expires"`
	ExpiresIn string          `json:"expires_in"`
}

// lifetime says how long a token is good.
type lifetime struct {
	Expires   *time.Time
	ExpiresIn string
}

// newToken is the only answer that has a token's text.
type newToken struct {
	tenants.Token
	Text string `json:"token"`
}

// createToken makes a token and shows its text, this once.
func (s *server) createToken(c *call) error {
	var in tokenRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	return s.makeToken(c, tenants.Token{Tenant: c.tenant.Value.ID, App: in.App, Role: in.Role, Scopes: in.Scopes, Name: in.Name}, lifetime{in.Expires, in.ExpiresIn},
		"/v1/tenants/"+string(c.tenant.Value.ID)+"/tokens/")
}

// makeToken completes a token, keeps it and shows its text, this once. place is where it is found, without its id.
func (s *server) makeToken(c *call, t tenants.Token, l lifetime, place string) error {
	expires, err := l.end(c.now)
	if err != nil {
		return err
	}
	text := tenants.NewTokenText()
	t.ID, t.Hint, t.Hash = tenants.NewID[tenants.TokenID](c.now), text.Hint(), text.Hash()
	t.Created, t.By, t.Expires = c.now.UTC(), c.who.Subject, expires.UTC().Truncate(time.Second)
	if err := t.Check(); err != nil {
		return err
	}
	detail := map[string]string{"name": t.Name, "role": t.Role.String(), "expires": t.Expires.Format(time.RFC3339)}
	if t.Operator {
		detail["role"] = "operator"
	}
	if err := c.change(string(t.ID), detail, func(tx *store.Tx) error { return tx.CreateToken(c.ctx(), t) }); err != nil {
		return err
	}
	have, err := s.Store.Token(c.ctx(), t.Tenant, t.ID)
	if err != nil {
		return err
	}
	if c.hide, err = json.Marshal(have.Value); err != nil { // a replay does not show it again
		return err
	}
	return c.created(place+string(t.ID), have.Revision, newToken{have.Value, text.Reveal()})
}

// end is when the token expires.
func (in lifetime) end(now time.Time) (time.Time, error) {
	life, at := tenants.DefaultTokenLife, "/expires_in"
	switch {
	case in.Expires != nil && in.ExpiresIn != "":
		return now, invalid(fault{Pointer: "/expires", Code: "conflict", Detail: "expires and expires_in exclude each other"})
	case in.Expires != nil:
		life, at = in.Expires.Sub(now), "/expires"
	case in.ExpiresIn != "":
		var err error
		if life, err = time.ParseDuration(in.ExpiresIn); err != nil {
			return now, invalid(fault{Pointer: at, Code: "invalid_duration", Detail: clip(in.ExpiresIn) + ` is not a duration such as "720h"`})
		}
	}
	if life < time.Minute || life > maxTokenLife {
		return now, invalid(fault{Pointer: at, Code: "out_of_range", Detail: "a token is good for a minute at least and 366 days at most"})
	}
	return now.Add(life), nil
}

// revokeToken ends a token, and the streams that were opened with it.
func (s *server) revokeToken(c *call) error {
	id := tenants.TokenID(c.r.PathValue("id"))
	err := c.change(string(id), nil, func(tx *store.Tx) error { return tx.RevokeToken(c.ctx(), c.tenant.Value.ID, id) })
	if err != nil {
		return noSuchIf(err, "token")
	}
	s.sessions.end(id)
	return c.empty(http.StatusNoContent)
}
