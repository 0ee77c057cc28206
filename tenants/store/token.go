package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// tokenRecord is a token with what does not go out as JSON.
type tokenRecord struct {
	tenants.Token
	Hash string `json:"hash"` // stands before the embedded one
}

func fromToken(r Record[tokenRecord]) Record[tenants.Token] {
	t := r.Value.Token
	hex.Decode(t.Hash[:], []byte(r.Value.Hash[:min(64, len(r.Value.Hash))])) // a damaged hash opens nothing
	return Record[tenants.Token]{t, r.Revision}
}

// tokenPlace is what the index by hash holds.
type tokenPlace struct {
	Tenant tenants.ID      `json:"tenant"`
	ID     tenants.TokenID `json:"id"`
}

// usedEvery is how often a token's LastUsed is written at most.
const usedEvery = time.Hour

// maxOperatorTokens is how many operators' tokens there can be.
const maxOperatorTokens = 100

// ErrUnauthenticated is that a text is no token that is good now. It does not say whether it ever was.
var ErrUnauthenticated = errors.New("the token is unknown, expired or revoked")

func tokenNamed(id tenants.TokenID) string { return "token " + string(id) }

// Token returns a token of a tenant, or of the operators for "", or ErrNotFound.
func (r reader) Token(ctx context.Context, t tenants.ID, id tenants.TokenID) (Record[tenants.Token], error) {
	have, err := read[tokenRecord](ctx, r.from, keyToken(t, id), tokenNamed(id))
	return fromToken(have), err
}

// Tokens lists a tenant's tokens, or the operators' for "", in the order of their making.
func (r reader) Tokens(ctx context.Context, t tenants.ID, q Query) (Page[tenants.Token], error) {
	have, err := page[tokenRecord](ctx, r.from, keyToken(t, ""), q, false)
	return convert(have, fromToken), err
}

// CreateToken adds a token.
func (tx *Tx) CreateToken(ctx context.Context, t tenants.Token) error {
	if err := t.Check(); err != nil {
		return err
	}
	most := maxOperatorTokens
	if !t.Operator {
		g, err := tx.grants(ctx, t.Tenant)
		if err != nil {
			return err
		}
		most = g.Tokens
	}
	if t.App != "" {
		if _, err := tx.App(ctx, t.Tenant, string(t.App)); err != nil {
			return err
		}
	}
	if err := tx.room(ctx, keyToken(t.Tenant, ""), "the tokens", most); err != nil {
		return err
	}
	if err := tx.create(ctx, indexToken(t.Hash), "token", tokenPlace{t.Tenant, t.ID}); err != nil {
		return err
	}
	return tx.create(ctx, keyToken(t.Tenant, t.ID), tokenNamed(t.ID), tokenRecord{t, t.Hash.String()})
}

// RevokeToken ends a token at once and for good, and forgets it.
func (tx *Tx) RevokeToken(ctx context.Context, t tenants.ID, id tenants.TokenID) error {
	have, err := tx.Token(ctx, t, id)
	if err != nil {
		return err
	}
	tx.delete(indexToken(have.Value.Hash))
	tx.delete(keyToken(t, id))
	return nil
}

// Authenticate returns the token that a text is, or ErrUnauthenticated, also where its tenant is gone. It notes the use once an hour; where
// that cannot be written, as on a full disk, the token is good all the same.
func (s *Store) Authenticate(ctx context.Context, text string, now time.Time) (tenants.Token, error) {
	parsed, err := tenants.ParseTokenText(text)
	if err != nil {
		return tenants.Token{}, ErrUnauthenticated
	}
	place, err := read[tokenPlace](ctx, s.from, indexToken(parsed.Hash()), "token")
	if err != nil {
		return tenants.Token{}, hide(err)
	}
	have, err := s.Token(ctx, place.Value.Tenant, place.Value.ID)
	if err != nil {
		return tenants.Token{}, hide(err)
	}
	if have.Value.Hash != parsed.Hash() || have.Value.Good(now) != nil {
		return tenants.Token{}, ErrUnauthenticated
	}
	if now.Sub(have.Value.LastUsed) >= usedEvery {
		s.Update(ctx, func(tx *Tx) error { return tx.used(ctx, have, now) })
	}
	return have.Value, nil
}

// hide makes what is not there look like what is refused; other errors are the store's own.
func hide(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrUnauthenticated
	}
	return fmt.Errorf("authenticate: %w", err)
}

func (tx *Tx) used(ctx context.Context, seen Record[tenants.Token], now time.Time) error {
	have, err := tx.Token(ctx, seen.Value.Tenant, seen.Value.ID)
	if err != nil || have.Revision != seen.Revision {
		return errors.Join(err, ErrMismatch) // somebody else noted it, or revoked it
	}
	have.Value.LastUsed = now.UTC().Truncate(time.Second)
	return tx.put(keyToken(have.Value.Tenant, have.Value.ID), tokenRecord{have.Value, have.Value.Hash.String()})
}
