package tenants

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
)

// DefaultTokenLife is how long a Token is good for where its maker says nothing.
const DefaultTokenLife = 90 * 24 * time.Hour

// Token is a credential for programs: what one may do with it, and the hash to know it by. Its text is shown once and kept nowhere.
type Token struct {
	ID       TokenID   `json:"id"`
	Tenant   ID        `json:"tenant,omitempty"` // "" only where Operator
	Operator bool      `json:"operator,omitempty"`
	App      AppName   `json:"app,omitempty"` // it is good for this App only; "" means all
	Role     Role      `json:"role"`
	Scopes   []Scope   `json:"scopes,omitempty"` // what of the Role's actions it may do; none means all; at most 32
	Name     string    `json:"name"`             // for people; at most 100 bytes
	Hint     string    `json:"hint"`             // the last four characters of its text
	Hash     TokenHash `json:"-"`
	Created  time.Time `json:"created"`
	By       string    `json:"created_by"`
	Expires  time.Time `json:"expires"`
	LastUsed time.Time `json:"last_used,omitzero"` // to within an hour
	Revoked  time.Time `json:"revoked,omitzero"`
}

// Check reports all faults as Faults.
func (t Token) Check() error {
	var c checker
	checkID(&c, "/id", t.ID)
	switch {
	case t.Operator && t.Tenant != "":
		c.add("/tenant", "invalid", "an operator's token is for no single tenant")
	case !t.Operator:
		c.name("/tenant", string(t.Tenant))
		c.between("/role", int64(t.Role), int64(Viewer), int64(Owner))
	}
	if t.App != "" {
		c.name("/app", string(t.App))
	}
	c.count("/scopes", len(t.Scopes), 32, "scopes")
	for i, s := range t.Scopes {
		pointer := fmt.Sprintf("/scopes/%d", i)
		if err := s.Check(); err != nil {
			c.add(pointer, "invalid", "%v", err)
		} else if slices.Contains(t.Scopes[:i], s) {
			c.add(pointer, "duplicate", "%q is there twice", string(s))
		}
	}
	c.required("/name", t.Name, 100)
	if !t.Expires.After(t.Created) {
		c.add("/expires", "out_of_range", "it must be after its making")
	}
	if t.Hash == (TokenHash{}) {
		c.add("", "missing", "a token without a hash opens nothing")
	}
	return c.err()
}

// ErrTokenRefused is why a token that is known opens nothing any more. It wraps no reason for callers from outside.
var ErrTokenRefused = errors.New("the token is expired or revoked")

// Good tells whether the token may be used at a time.
func (t Token) Good(now time.Time) error {
	if !t.Revoked.IsZero() || !now.Before(t.Expires) {
		return ErrTokenRefused
	}
	return nil
}

// Principal is who acts with this token.
func (t Token) Principal() Principal {
	return Principal{Subject: string(t.ID), Token: true, Operator: t.Operator, Tenant: t.Tenant, Role: t.Role, App: t.App, Scopes: t.Scopes}
}

// TokenHash is the SHA-256 of a token's text.
type TokenHash [32]byte

// String gives 64 digits of hex.
func (h TokenHash) String() string { return hex.EncodeToString(h[:]) }

// TokenText is a token as its holder has it: "tlm_", 256 random bits in 43 characters of base 62, and 6 of checksum, so that scanners for
// leaked secrets can tell it from other text. It prints as [redacted]; only Reveal gives the text.
type TokenText struct{ text string }

const (
	tokenPrefix = "tlm_"
	tokenDigits = 43 // of base 62 hold 256 bits
	tokenSum    = 6  // of base 62 hold 32 bits
)

// NewTokenText makes one from the system's randomness.
func NewTokenText() TokenText {
	var random [32]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	body := tokenPrefix + base62(new(big.Int).SetBytes(random[:]), tokenDigits)
	return TokenText{body + checksum(body)}
}

// errTokenText says nothing of the text: it may be another's secret, or this one's with a slip.
var errTokenText = errors.New("not a token of this platform: it begins with tlm_ and has 53 characters")

// ParseTokenText reads what Reveal gave. It looks at form and checksum only, so that most wrong tokens cost no look into a store.
func ParseTokenText(s string) (TokenText, error) {
	if len(s) != len(tokenPrefix)+tokenDigits+tokenSum || !strings.HasPrefix(s, tokenPrefix) {
		return TokenText{}, errTokenText
	}
	for i := len(tokenPrefix); i < len(s); i++ {
		if strings.IndexByte(base62Digits, s[i]) < 0 {
			return TokenText{}, errTokenText
		}
	}
	body := s[:len(s)-tokenSum]
	if checksum(body) != s[len(body):] {
		return TokenText{}, errTokenText
	}
	return TokenText{s}, nil
}

// Reveal gives the text itself.
func (t TokenText) Reveal() string { return t.text }

// Hash is what is kept of it. A plain hash is enough: 256 random bits cannot be guessed from it.
func (t TokenText) Hash() TokenHash { return sha256.Sum256([]byte(t.text)) }

// Hint gives the last four characters before the checksum, for people to tell tokens apart.
func (t TokenText) Hint() string {
	if t.text == "" {
		return ""
	}
	end := len(t.text) - tokenSum
	return t.text[end-4 : end]
}

// Format writes [redacted] for every verb.
func (t TokenText) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText gives [redacted].
func (t TokenText) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "[redacted]"

const base62Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func checksum(body string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), tokenSum)
}

// base62 writes n with so many digits, the most significant first. It uses n up.
func base62(n *big.Int, digits int) string {
	out := make([]byte, digits)
	base, rest := big.NewInt(62), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = base62Digits[rest.Int64()]
	}
	return string(out)
}
