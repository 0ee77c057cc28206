package api

import (
	"net/http"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

type valueRequest struct {
	Value *string `json:"value"`
}

// readValue reads the body of a variable or secret.
func (c *call) readValue() (string, error) {
	var in valueRequest
	if err := c.readJSON(&in); err != nil {
		return "", err
	}
	if in.Value == nil {
		return "", invalid(fault{Pointer: "/value", Code: "missing", Detail: "is missing"})
	}
	return *in.Value, nil
}

// name is the path's name of a variable or secret.
func (c *call) name(what string) (string, error) {
	name := c.r.PathValue("name")
	if len(name) > 255 || tenants.CheckVariableKey(name) != nil {
		if c.r.Method == http.MethodPut {
			return "", invalid(fault{Code: "invalid", Detail: "a name has up to 255 of a-z, 0-9 and _, and begins with a letter"})
		}
		return "", noSuch(what)
	}
	return name, nil
}

func (c *call) inApp(path string) string {
	return "/v1/tenants/" + string(c.tenant.Value.ID) + "/apps/" + string(c.app.Value.Name) + "/" + path
}

func (s *server) listVariables(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Variables(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, q)
	return pageOf(c, p, err, same)
}

func (s *server) showVariable(c *call) error {
	name, err := c.name("variable")
	if err != nil {
		return err
	}
	have, err := s.Store.Variable(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, name)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

// putVariable sets a variable. Versions that run keep the value they began with until the next deployment.
func (s *server) putVariable(c *call) error {
	name, err := c.name("variable")
	if err != nil {
		return err
	}
	value, err := c.readValue()
	if err != nil {
		return err
	}
	v := tenants.Variable{Tenant: c.tenant.Value.ID, App: c.app.Value.Name, Name: name, Value: value, Changed: c.now.UTC(), By: c.who.Subject}
	existed := false
	err = c.change(name, nil, func(tx *store.Tx) error {
		have, err := tx.Variable(c.ctx(), v.Tenant, v.App, name)
		existed = err == nil
		if err := c.matchOr(have.Revision, err); err != nil {
			return err
		}
		return tx.PutVariable(c.ctx(), v)
	})
	if err != nil {
		return err
	}
	have, err := s.Store.Variable(c.ctx(), v.Tenant, v.App, name)
	if err != nil {
		return err
	}
	return c.put(existed, c.inApp("variables/"+name), have.Revision, have.Value)
}

func (s *server) deleteVariable(c *call) error {
	name, err := c.name("variable")
	if err != nil {
		return err
	}
	t, a := c.tenant.Value.ID, c.app.Value.Name
	err = c.change(name, nil, func(tx *store.Tx) error {
		have, err := tx.Variable(c.ctx(), t, a, name)
		if err := c.matchThere(have.Revision, err); err != nil {
			return err
		}
		return tx.DeleteVariable(c.ctx(), t, a, name)
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// secretAnswer is all that is ever shown of a secret.
type secretAnswer struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Changed time.Time `json:"changed"`
	By      string    `json:"changed_by"`
}

func showSecret(s tenants.Secret) secretAnswer {
	return secretAnswer{s.Name, s.Version, s.Changed, s.By}
}

func (s *server) listSecrets(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Secrets(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, q)
	return pageOf(c, p, err, showSecret)
}

func (s *server) showSecret(c *call) error {
	name, err := c.name("secret")
	if err != nil {
		return err
	}
	have, err := s.Store.Secret(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, name)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, showSecret(have.Value))
}

// maxSecret bounds a secret's value, in bytes.
const maxSecret = 64 << 10

// putSecret sets a secret. Its value is sealed before it is kept, and never shown.
func (s *server) putSecret(c *call) error {
	name, err := c.name("secret")
	if err != nil {
		return err
	}
	value, err := c.readValue()
	if err != nil {
		return err
	}
	if len(value) > maxSecret {
		return tooLarge("a secret", maxSecret)
	}
	sealed, err := s.seal(value)
	if err != nil {
		return err
	}
	v := tenants.Secret{Tenant: c.tenant.Value.ID, App: c.app.Value.Name, Name: name, Sealed: sealed, Changed: c.now.UTC(), By: c.who.Subject}
	existed := false
	err = c.change(name, nil, func(tx *store.Tx) error {
		have, err := tx.Secret(c.ctx(), v.Tenant, v.App, name)
		existed = err == nil
		if err := c.matchOr(have.Revision, err); err != nil {
			return err
		}
		return tx.PutSecret(c.ctx(), v)
	})
	if err != nil {
		return err
	}
	have, err := s.Store.Secret(c.ctx(), v.Tenant, v.App, name)
	if err != nil {
		return err
	}
	return c.put(existed, c.inApp("secrets/"+name), have.Revision, showSecret(have.Value))
}

func (s *server) deleteSecret(c *call) error {
	name, err := c.name("secret")
	if err != nil {
		return err
	}
	t, a := c.tenant.Value.ID, c.app.Value.Name
	err = c.change(name, nil, func(tx *store.Tx) error {
		have, err := tx.Secret(c.ctx(), t, a, name)
		if err := c.matchThere(have.Revision, err); err != nil {
			return err
		}
		return tx.DeleteSecret(c.ctx(), t, a, name)
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
