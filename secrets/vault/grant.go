package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tenloom/tenloom/secrets"
)

// grant is one user and password. It does not change, except for how long it lasts.
type grant struct {
	user       string
	password   secrets.Value
	lease      string        // "" without one
	life       time.Duration // of the lease, as first given
	until      time.Time     // zero: no end is known
	renewable  bool
	generation int  // of the token that the lease hangs on
	replace    bool // it is to be replaced and not renewed
}

func (g *grant) ended() bool { return !g.until.IsZero() && !time.Now().Before(g.until) }

func (g *grant) same(other *grant) bool {
	return other != nil && g.user == other.user && g.password.Reveal() == other.password.Reveal()
}

// obtain reads the source.
func (k *Credential) obtain(ctx context.Context) (*grant, error) {
	if k.source.shape == inKV {
		return k.fromKV(ctx)
	}
	// The token is noted before, so that a lease under a token that changes meanwhile counts as one of the former.
	generation := k.c.session.now().generation
	secret, err := k.c.read(ctx, k.source.path)
	if err != nil {
		return nil, k.source.advise(err)
	}
	if secret == nil {
		return nil, &Error{Missing, k.source.path, "read", "there is nothing", "write the role: tenloom doctor --vault-role TENANT prints it"}
	}
	user, _ := secret.Data["username"].(string)
	password, ok := secret.Data["password"].(string)
	if !ok || user == "" {
		return nil, &Error{Unfit, k.source.path, "read", "the answer holds no username and password", "want a role of a database engine, as database/creds/ROLE"}
	}
	g := &grant{user: user, password: secrets.NewValue(password), generation: generation}
	if k.source.shape == static {
		g.life = rotatesIn(secret)
		return g, nil
	}
	g.lease, g.life, g.renewable = secret.LeaseID, time.Duration(secret.LeaseDuration)*time.Second, secret.Renewable
	if g.life > 0 {
		g.until = time.Now().Add(g.life)
	} else {
		g.life = 24 * time.Hour // Vault gives a life to every lease; whatever has none is looked at once a day
	}
	return g, nil
}

func rotatesIn(secret *api.Secret) time.Duration {
	n, _ := secret.Data["ttl"].(json.Number)
	seconds, _ := n.Int64()
	return time.Duration(max(seconds, 0)) * time.Second
}

func (k *Credential) fromKV(ctx context.Context) (*grant, error) {
	r, err := k.c.kv(ctx, k.source.kv)
	if err != nil {
		return nil, err
	}
	password, err := r.text(k.source.kv, k.source.password)
	if err != nil {
		return nil, err
	}
	g := &grant{password: password}
	if _, named := r.fields[k.source.user]; named {
		user, err := r.text(k.source.kv, k.source.user)
		if err != nil {
			return nil, err
		}
		g.user = user.Reveal()
	}
	return g, nil
}

// advise says what to do about what a database engine answers.
func (s Source) advise(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	told := *e
	switch {
	case told.Kind == Missing, strings.Contains(told.Detail, "unknown role"):
		told.Kind, told.Detail = Missing, fmt.Sprintf("the database engine %q has no role %q", s.mount, s.role)
		told.Next = "write it: tenloom doctor --vault-role TENANT prints what it needs"
	case containsAny(told.Detail, "ACL SETUSER", "unmarshalling REDIS rules", "creation statement"):
		told.Detail = fmt.Sprintf("the creation statement of role %q is none for Redis: %s", s.role, told.Detail)
		told.Next = "tenloom doctor --vault-role TENANT prints one; write it to " + s.mount + "/roles/" + s.role
	case told.Kind == Refused && containsAny(told.Detail, "connection refused", "dial tcp", "i/o timeout", "error verifying connection"):
		told.Next = "look at " + s.mount + "/config: Vault itself cannot reach that Redis"
	}
	return &told
}
