package vault

import (
	"errors"
	"fmt"
	"time"
)

// Phase is how the session stands.
type Phase string

const (
	SigningIn Phase = "signing in"
	Valid     Phase = "valid"
	Away      Phase = "away" // sealed or without an answer; what was read stays in force
	Out       Phase = "signed out"
)

// State is how the session and what was read stand now. It holds no value.
type State struct {
	Phase       Phase
	Kind        Kind      // of the trouble, "" without
	Trouble     string    // why not Valid, or what went wrong in between; "" without
	Since       time.Time // of Away
	Until       time.Time // the end of the token as it is now; zero: it does not end
	Renewable   bool
	Again       bool  // another token is fetched before the end
	Secrets     int   // that are remembered
	Requests    int64 // that were sent
	Credentials []CredentialState
}

// CredentialState is how one credential stands. It holds no password.
type CredentialState struct {
	Phase     CredentialPhase
	Path      string
	User      string    // "" before the first, and for Redis' default user
	Until     time.Time // the end of its lease; zero: none is known
	Renewable bool
	Trouble   *Error // of the last request; nil after a good one
	Detail    string // of that trouble, or of one that is none of Vault's; "" without
}

// CredentialPhase is where a credential stands.
type CredentialPhase string

const (
	Fetching CredentialPhase = "fetching" // there was none yet, and nothing speaks against one
	InForce  CredentialPhase = "valid"
	Renewing CredentialPhase = "renewing" // it is valid, and Vault is being asked
	Failing  CredentialPhase = "failing"  // it is valid, and the last request failed; it is tried again
	Lacking  CredentialPhase = "lacking"  // there is none, or its lease has ended, and the last request failed
)

// State tells how everything stands, credentials in no order.
func (c *Client) State() State {
	c.session.mu.Lock()
	in, trouble, tried := c.session.in, c.session.trouble, c.session.tried
	c.session.mu.Unlock()
	s := State{Phase: Valid, Until: in.until, Renewable: in.renewable, Requests: c.requests.Load()}
	s.Again = c.config.Auth.method() != Token || c.config.Auth.TokenFile != ""
	c.absence.mu.Lock()
	away := c.absence.why
	s.Since = c.absence.began
	c.absence.mu.Unlock()
	switch {
	case away != nil:
		s.Phase, trouble = Away, away
	case in.token == "" || in.ended():
		if s.Phase = Out; !tried || trouble == nil {
			s.Phase = SigningIn
		}
	}
	if trouble != nil {
		s.Kind, s.Trouble = kind(trouble), trouble.Error()
	}
	c.cache.mu.Lock()
	s.Secrets = len(c.cache.entries)
	c.cache.mu.Unlock()
	c.mu.Lock()
	var all []*Credential
	for k := range c.credentials {
		all = append(all, k)
	}
	c.mu.Unlock()
	for _, k := range all {
		s.Credentials = append(s.Credentials, k.State())
	}
	return s
}

// State tells how the credential stands.
func (k *Credential) State() CredentialState {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := CredentialState{Path: k.source.path, Phase: Fetching}
	if k.cur != nil {
		s.User, s.Until, s.Renewable = k.cur.user, k.cur.until, k.cur.renewable
	}
	valid := k.cur != nil && !k.cur.ended()
	switch {
	case k.trouble != nil && valid:
		s.Phase = Failing
	case k.trouble != nil:
		s.Phase = Lacking
	case valid && k.asking != nil:
		s.Phase = Renewing
	case valid:
		s.Phase = InForce
	}
	if k.trouble != nil {
		s.Detail = k.trouble.Error()
		errors.As(k.trouble, &s.Trouble)
	}
	return s
}

// String is one line for people: the session, then what is wrong.
func (s State) String() string {
	text := string(s.Phase)
	if s.Phase == Valid || s.Phase == Away && !s.Until.IsZero() {
		switch {
		case s.Until.IsZero():
			text += ", the token does not end"
		case s.Renewable:
			text += ", the token is renewed before " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC")
		case s.Again:
			text += ", another token is fetched before " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC")
		default:
			text += ", the token ends at " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC") +
				" and cannot be renewed: give a periodic one, a file that is replaced, or sign in with approle, kubernetes or jwt"
		}
	}
	if s.Phase == Away {
		text += fmt.Sprintf(" since %s", s.Since.UTC().Format("15:04:05 UTC"))
	}
	if s.Trouble != "" {
		text += ": " + s.Trouble
	}
	return text
}

// String is one line for people.
func (s CredentialState) String() string {
	text := s.Path
	if s.User != "" {
		text += " as " + s.User
	}
	if !s.Until.IsZero() {
		text += ", until " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}
