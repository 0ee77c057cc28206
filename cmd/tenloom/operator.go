package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// operatorTokenFile is where the first operator's token is written, in the state directory.
const operatorTokenFile = "operator.token"

// firstOperator makes a token for an operator where there is none that is good, so that a new installation, and one whose tokens have all expired,
// can be reached by who can read its state directory. It returns the file that holds the token, "" where nothing was done.
func firstOperator(ctx context.Context, s *store.Store, state string, now time.Time) (path string, err error) {
	good := false
	err = everyRecord(func(q store.Query) (store.Page[tenants.Token], error) { return s.Tokens(ctx, "", q) },
		func(t tenants.Token) { good = good || t.Good(now) == nil })
	if err != nil || good {
		return "", err
	}
	text := tenants.NewTokenText()
	token := tenants.Token{
		ID: tenants.NewID[tenants.TokenID](now), Operator: true, Role: tenants.Owner, Name: "first operator", Hint: text.Hint(), Hash: text.Hash(),
		Created: now.UTC(), By: "tenloom", Expires: now.Add(tenants.DefaultTokenLife).UTC(),
	}
	// Before the store knows it: a token that nobody has is worse than one that opens nothing.
	path = filepath.Join(state, operatorTokenFile)
	if err := writeSecret(path, text.Reveal()+"\n"); err != nil {
		return "", fmt.Errorf("write operator token: %w", err)
	}
	_, err = s.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CreateToken(ctx, token); err != nil {
			return err
		}
		return tx.Audit(ctx, tenants.AuditEntry{Chain: tenants.Platform, At: now, Actor: "tenloom", Action: tenants.CreateToken, Target: string(token.ID), Outcome: "ok"})
	})
	if err != nil {
		return "", fmt.Errorf("make operator token: %w", err)
	}
	return path, nil
}

// writeSecret puts a file in the place of another, or of none, with mode 0600 from the beginning.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tenloom-") // its mode is 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
