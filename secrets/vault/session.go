package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// signed is one token and how long it is good for.
type signed struct {
	token      string
	generation int       // counts tokens: leases end with the token that they were made under
	until      time.Time // zero: it does not end
	life       time.Duration
	renewable  bool
}

func (s signed) ended() bool { return !s.until.IsZero() && !time.Now().Before(s.until) }

// session is the token in force, or why there is none.
type session struct {
	mu      sync.Mutex
	in      signed
	trouble error         // of the last attempt to sign in or to renew; nil after a good one
	tried   bool          // there was an attempt
	changed chan struct{} // closed and made anew at each change
	gone    chan struct{} // capacity 1: the token turned out to be none any more
}

func (s *session) init() { s.changed, s.gone = make(chan struct{}), make(chan struct{}, 1) }

func (s *session) now() signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in
}

// wait returns when there is a token, or why the last attempt to get one failed.
func (s *session) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		in, trouble, changed := s.in, s.trouble, s.changed
		s.mu.Unlock()
		switch {
		case in.token != "" && !in.ended():
			return nil
		case trouble != nil:
			return trouble
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("vault: wait to be signed in: %w", ctx.Err())
		}
	}
}

func (s *session) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// begin puts a token in force and returns the one before.
func (s *session) begin(in signed) (former signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	former = s.in
	in.generation = former.generation
	if in.token != former.token {
		in.generation++
	}
	s.in, s.trouble, s.tried = in, nil, true
	select {
	case <-s.gone: // it was said of the one before
	default:
	}
	s.tell()
	return former
}

func (s *session) renewed(until time.Time, life time.Duration, renewable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.until, s.in.life, s.in.renewable, s.trouble = until, life, renewable, nil
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.tried = err, true
	s.tell()
}

// lost takes back a token that Vault does not know any more. It is false of one that is too fresh to doubt.
func (s *session) lost(generation int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in.generation == generation && s.in.token != "" {
		s.in.token, s.trouble = "", nil
		select {
		case s.gone <- struct{}{}:
		default: // it is said already
		}
		s.tell()
	}
	return true
}

// keepSession signs in, and again when the token ends or is about to, until ctx ends.
func (c *Client) keepSession(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		in, err := c.signIn(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			c.session.fail(err)
			c.config.Log.Warn("vault: not signed in; trying again", "cause", err)
			if !sleep(ctx, pause(failures)) {
				return
			}
			continue
		}
		failures = 0
		former := c.session.begin(in)
		if former.generation > 0 && former.token != in.token {
			c.config.Log.Info("vault: signed in again", "method", c.config.Auth.method())
			c.reissue(former)
		}
		c.hold(ctx)
	}
}

// hold renews the token until it is time to sign in again.
func (c *Client) hold(ctx context.Context) {
	failures := 0
	for {
		in := c.session.now()
		var due <-chan time.Time
		if !in.until.IsZero() {
			left := time.Until(in.until)
			wait := jitter(left*2/3, 0.05)
			if failures > 0 {
				wait = pause(failures)
			}
			t := time.NewTimer(max(min(wait, left), time.Second/4))
			defer t.Stop() // a handful until the session is another
			due = t.C
		}
		select {
		case <-ctx.Done():
			return
		case <-c.session.gone:
			return
		case <-due:
		}
		if in.ended() || !in.renewable {
			if c.config.Auth.method() == Token && !in.ended() {
				c.config.Log.Warn("vault: the token ends and cannot be renewed", "until", in.until.UTC().Format(time.RFC3339))
			}
			return
		}
		err := c.renewToken(ctx, in)
		switch {
		case err == nil:
			failures = 0
		case isAway(err):
			failures++
			c.session.mark(err)
		default:
			c.session.mark(err)
			c.session.renewed(in.until, in.life, false)
		}
	}
}

// mark notes trouble with a token that is still good.
func (s *session) mark(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
}

// renewToken renews our own token. One that Vault gives less time than before is near its end for good.
func (c *Client) renewToken(ctx context.Context, in signed) error {
	secret, err := c.send(ctx, "auth/token/renew-self", "update", func(ctx context.Context) (*api.Response, error) {
		return c.api.Logical().WriteRawWithContext(ctx, "auth/token/renew-self", []byte("{}"))
	})
	if err != nil {
		return err
	}
	if secret == nil || secret.Auth == nil {
		return &Error{Unfit, "auth/token/renew-self", "update", "the answer holds no token", ""}
	}
	life := time.Duration(secret.Auth.LeaseDuration) * time.Second
	more := secret.Auth.Renewable && life*10 >= in.life*9
	c.session.renewed(time.Now().Add(life), max(life, in.life), more)
	return nil
}

// signIn makes a token, or looks at the one that was given.
func (c *Client) signIn(ctx context.Context) (signed, error) {
	a := &c.config.Auth
	if a.method() == Token {
		return c.takeToken(ctx)
	}
	fields := map[string]any{}
	switch a.method() {
	case AppRole:
		fields["role_id"] = a.RoleID
		id := a.SecretID.Reveal()
		if a.SecretIDFile != "" {
			var err error
			if id, err = readSecretFile(a.SecretIDFile); err != nil {
				return signed{}, fmt.Errorf("vault: sign in with approle: %w", err)
			}
		}
		if id != "" {
			fields["secret_id"] = id
		}
	default:
		jwt, err := readSecretFile(a.JWTFile)
		if err != nil {
			return signed{}, fmt.Errorf("vault: sign in with %s: %w", a.Method, err)
		}
		fields["role"], fields["jwt"] = a.Role, jwt
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return signed{}, err
	}
	path := "auth/" + a.mount() + "/login"
	secret, err := c.send(ctx, path, "update", func(ctx context.Context) (*api.Response, error) {
		return c.api.Logical().WriteRawWithContext(ctx, path, body)
	})
	if err != nil {
		return signed{}, a.advise(err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return signed{}, &Error{Unfit, path, "update", "the answer holds no token", "look at the mount of the auth method"}
	}
	in := signed{token: secret.Auth.ClientToken, life: time.Duration(secret.Auth.LeaseDuration) * time.Second, renewable: secret.Auth.Renewable}
	if in.life > 0 {
		in.until = time.Now().Add(in.life)
	}
	c.api.SetToken(in.token)
	return in, nil
}

// advise says of a refused sign-in what to look at: no policy line helps there.
func (a *Auth) advise(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.away() || e.Kind == Unfit {
		return err
	}
	told := *e
	switch {
	case told.Kind == Missing || a.method() != Token && told.Kind == Denied && a.method() != Kubernetes || containsAny(told.Detail, "unsupported path", "no handler"):
		told.Next = fmt.Sprintf("is the auth method %s enabled at %q? vault auth list shows it", a.method(), a.mount())
	case a.method() == AppRole:
		told.Next = "check role_id and secret_id: secret ids end and can be used up"
	case a.method() == Kubernetes:
		told.Next = fmt.Sprintf("check that role %q binds this service account and namespace, and that Vault may review tokens", a.Role)
	case a.method() == JWT:
		told.Next = fmt.Sprintf("check role %q: bound_audiences, bound_subject and the signature's issuer", a.Role)
	default:
		told.Next = "the token is wrong, has ended or was revoked: give another"
	}
	return &told
}

// takeToken looks at the token that was given.
func (c *Client) takeToken(ctx context.Context) (signed, error) {
	a := &c.config.Auth
	token := a.Token.Reveal()
	if a.TokenFile != "" {
		var err error
		if token, err = readSecretFile(a.TokenFile); err != nil {
			return signed{}, fmt.Errorf("vault: sign in with token: %w", err)
		}
	}
	c.api.SetToken(token)
	secret, err := c.send(ctx, "auth/token/lookup-self", "read", func(ctx context.Context) (*api.Response, error) {
		return c.api.Logical().ReadRawWithContext(ctx, "auth/token/lookup-self")
	})
	if err != nil {
		return signed{}, a.advise(err)
	}
	life, err := secret.TokenTTL()
	if err != nil {
		return signed{}, &Error{Unfit, "auth/token/lookup-self", "read", "the answer says no time to live", ""}
	}
	in := signed{token: token, life: life}
	if in.renewable, err = secret.TokenIsRenewable(); err != nil {
		in.renewable = false
	}
	if life > 0 {
		in.until = time.Now().Add(life)
	}
	return in, nil
}

// readSecretFile reads a file that holds one token, a line's end behind it or not, of at most 64 KiB.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(limited(f, 64<<10+1)); err != nil {
		return "", err
	}
	value := strings.TrimSpace(text.String())
	switch {
	case text.Len() > 64<<10:
		return "", fmt.Errorf("%s is larger than 64 KiB", path)
	case value == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return value, nil
}
