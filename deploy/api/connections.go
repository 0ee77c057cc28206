package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// Bounds of trying connections.
const (
	testTimeout  = 10 * time.Second
	maxTesting   = 32 // at once; one more is told to come again
	maxTestingOf = 4  // of one tenant, likewise
)

// ConnectionState is how a connection stands here.
type ConnectionState struct {
	State  string            `json:"state"` // unused, ok, degraded, stale (subscriptions still have the login before)
	Detail string            `json:"detail,omitempty"`
	UsedBy []tenants.AppName `json:"used_by,omitempty"` // apps of which something is live, with triggers there or with its name in an allow list

	Credential *ConnectionCredential `json:"credential,omitempty"` // of a login that comes from Vault
}

// ConnectionCredential is how the user and password from Vault stand.
type ConnectionCredential struct {
	State     string     `json:"state"` // fetching, valid, renewing, failing (valid, and the last request failed), lacking
	Path      string     `json:"path"`  // where Vault has it
	User      string     `json:"user,omitempty"`
	Until     *time.Time `json:"until,omitempty"` // the end of its lease as it is now; left out: none is known
	Renewable bool       `json:"renewable"`
	Reason    string     `json:"reason,omitempty"` // why the last request failed: denied, missing, sealed, unreachable, distrusted, refused, unfit
	Denied    *Denied    `json:"denied,omitempty"`
	Detail    string     `json:"detail,omitempty"` // of that reason, and what to do
}

// Denied is what the platform may not do in Vault.
type Denied struct {
	Path       string `json:"path"`
	Capability string `json:"capability"`
}

// connectionAnswer is a connection without its login, and whether it has one.
type connectionAnswer struct {
	tenants.Connection
	HasLogin bool             `json:"has_login"`
	Status   *ConnectionState `json:"status,omitempty"`
	Warnings []string         `json:"warnings,omitempty"` // of the component file that was sent
}

func (s *server) showsConnection(n tenants.Connection) connectionAnswer {
	out := connectionAnswer{Connection: n, HasLogin: n.Vault || len(n.Login) > 0}
	if s.ConnectionState != nil {
		state := s.ConnectionState(n.Tenant, n.Name)
		out.Status = &state
	}
	return out
}

// unused refuses what would cut live apps off from a connection.
func (s *server) unused(t tenants.ID, name, what string) error {
	if s.ConnectionState == nil {
		return nil
	}
	by := s.ConnectionState(t, name).UsedBy
	if len(by) == 0 {
		return nil
	}
	names := make([]string, len(by))
	for i, app := range by {
		names[i] = string(app)
	}
	return &problem{Status: http.StatusConflict, Code: "connection_in_use", Title: "In use", Names: names,
		Detail: clip("what is live of "+strings.Join(names, ", ")) + " uses the connection, so " + what,
		Next:   "Deploy versions that do without it, or remove the apps, then try again."}
}

func (s *server) listConnections(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Connections(c.ctx(), c.tenant.Value.ID, q)
	return pageOf(c, p, err, s.showsConnection)
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
	return c.one(http.StatusOK, have.Revision, s.showsConnection(have.Value))
}

type connectionRequest struct {
	Address  string `json:"address"`
	CA       string `json:"ca"`
	Username string `json:"username"`
	Password string `json:"password"`
	Vault    bool   `json:"vault"`
	// Component is a component file of Dapr, in the place of all the others, and Secrets are the values that it takes from elsewhere, by their
	// place as manifest.SecretRef writes it.
	Component string            `json:"component"`
	Secrets   map[string]string `json:"secrets"`
}

// wanted is a connection with what is to be sealed of it.
type wanted struct {
	tenants.Connection
	login    manifest.RedisLogin
	warnings []string
}

// read makes a connection of what was sent.
func (in *connectionRequest) read(name string) (w wanted, err error) {
	if in.Vault && in.Username+in.Password != "" {
		return w, invalid(fault{"/vault", "invalid", "user and password come from Vault, and others are given beside; leave one out"})
	}
	if in.Component == "" {
		return wanted{Connection: tenants.Connection{Address: in.Address, CA: in.CA, Vault: in.Vault}, login: manifest.RedisLogin{User: in.Username, Password: in.Password}}, nil
	}
	if in.Address+in.CA+in.Username+in.Password != "" {
		return w, invalid(fault{"/component", "conflict", "a component file says address, authority and login itself; leave those out"})
	}
	all, err := manifest.ReadComponents([]manifest.ComponentFile{{Name: "component", Text: []byte(in.Component)}}, func(r manifest.SecretRef) (string, error) {
		if v, ok := in.Secrets[r.String()]; ok {
			return v, nil
		}
		return "", errors.New("its value is not among secrets")
	})
	var wrong manifest.Faults
	if errors.As(err, &wrong) {
		var faults []fault
		for _, f := range wrong[:min(len(wrong), maxFaults)] {
			faults = append(faults, fault{"/component", "invalid", clipTo(f.Error(), 500)})
		}
		return w, invalid(faults...)
	}
	var one *manifest.RedisComponent
	for i := range all.Redis {
		if all.Redis[i].Connection.Name == name || len(all.Redis) == 1 {
			one = &all.Redis[i]
		}
	}
	if one == nil {
		return w, invalid(fault{"/component", "missing", "the file has no component " + clip(name) + " of the type bindings.redis or pubsub.redis"})
	}
	for _, warning := range all.Warnings {
		w.warnings = append(w.warnings, clipTo(warning.Error(), 500))
	}
	w.Connection, w.login = one.Connection, one.Login
	w.Vault = in.Vault
	if w.Vault && w.login.User+w.login.Password != "" {
		return w, invalid(fault{"/vault", "invalid", "user and password come from Vault, and the component file has others; leave one out"})
	}
	return w, nil
}

// sealed puts the secrets of a connection where nobody sees them.
func (s *server) sealed(w *wanted) error {
	if w.login.User != "" && w.login.Password == "" {
		return invalid(fault{"/password", "missing", "a user without a password cannot log in"})
	}
	if w.login.User+w.login.Password != "" {
		u, err := url.Parse(strings.Split(w.Address, ",")[0]) // Check has; of several hosts the first stands for all
		if err != nil {
			return err
		}
		u.User = url.UserPassword(w.login.User, w.login.Password)
		if w.Login, err = s.seal(u.String()); err != nil {
			return err
		}
	}
	if w.login.Keys == (tenants.LoginKeys{}) {
		return nil
	}
	text, err := json.Marshal(w.login.Keys)
	if err == nil {
		w.Keys, err = s.seal(string(text))
	}
	return err
}

// putConnection adds or replaces a connection. User and password are sealed before they are kept, and never shown.
func (s *server) putConnection(c *call) error {
	var in connectionRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	want, err := in.read(c.r.PathValue("name"))
	if err != nil {
		return err
	}
	n := &want.Connection
	n.Tenant, n.Name, n.Changed, n.By = c.tenant.Value.ID, c.r.PathValue("name"), c.now.UTC(), c.who.Subject
	if err := n.Check(); err != nil {
		return err
	}
	if err := s.sealed(&want); err != nil {
		return err
	}
	if s.CheckConnection != nil {
		if err := s.CheckConnection(*n); err != nil {
			return err
		}
	}
	existed := false
	err = c.change(n.Name, nil, func(tx *store.Tx) error {
		have, err := tx.Connection(c.ctx(), n.Tenant, n.Name)
		existed = err == nil
		if err := c.matchOr(have.Revision, err); err != nil {
			return err
		}
		if existed && (have.Value.Address != n.Address || !have.Value.Tuning.SameSockets(n.Tuning) || len(have.Value.Keys)+len(n.Keys) > 0) {
			if err := s.unused(n.Tenant, n.Name, "its address and what goes with it stay; add another connection"); err != nil {
				return err
			}
		}
		return tx.PutConnection(c.ctx(), *n)
	})
	if err != nil {
		return err
	}
	have, err := c.connection()
	if err != nil {
		return err
	}
	return c.put(existed, "/v1/tenants/"+string(n.Tenant)+"/connections/"+n.Name, have.Revision, s.warned(have.Value, want.warnings))
}

func (s *server) warned(n tenants.Connection, warnings []string) connectionAnswer {
	out := s.showsConnection(n)
	out.Warnings = warnings
	return out
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
		if err := s.unused(c.tenant.Value.ID, now.Value.Name, "it stays"); err != nil {
			return err
		}
		return tx.DeleteConnection(c.ctx(), c.tenant.Value.ID, have.Value.Name)
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// Found is what a test has found at a Redis server. What the server did not say is left out.
type Found struct {
	Server    string    `json:"server,omitempty"` // host:port
	User      string    `json:"user,omitempty"`   // whom it takes the login for
	Version   string    `json:"version,omitempty"`
	Mode      string    `json:"mode,omitempty"`       // standalone, sentinel or cluster
	Role      string    `json:"role,omitempty"`       // master or replica
	Protocol  int       `json:"protocol,omitempty"`   // of RESP
	TLS       string    `json:"tls,omitempty"`        // its version; left out: plain text
	ConnectMS float64   `json:"connect_ms,omitempty"` // connecting, TLS and logging in
	LatencyMS float64   `json:"latency_ms,omitempty"` // one command
	Missing   []Missing `json:"missing,omitempty"`
}

// Missing is a permission that the user lacks.
type Missing struct {
	Rule     string `json:"rule"` // as ACL SETUSER takes it
	Why      string `json:"why"`
	Required bool   `json:"required"` // no message comes without it
}

type testAnswer struct {
	OK     bool    `json:"ok"`
	Detail string  `json:"detail,omitempty"` // why not
	TookMS float64 `json:"took_ms"`
	Found
}

// testConnection logs in at a connection's server, now, and tells what is there.
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
	if err := s.testingOf.take(have.Value.Tenant); err != nil {
		return err
	}
	defer s.testingOf.leave(have.Value.Tenant)
	ctx, cancel := context.WithTimeout(c.ctx(), testTimeout)
	defer cancel()
	began := time.Now()
	found, err := s.TestConnection(ctx, have.Value)
	out := testAnswer{OK: err == nil, TookMS: float64(time.Since(began).Microseconds()) / 1000, Found: found}
	for _, m := range found.Missing {
		if m.Required {
			out.OK, out.Detail = false, "the user may not do what messages take: "+m.Rule
		}
	}
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
