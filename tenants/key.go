package tenants

import (
	"fmt"
	"strings"
	"time"
)

// Ids of records: a prefix and a ULID. They sort by the time of making, are never used again, and mixing two kinds does not compile.
type (
	AppID        string // "app_..."; outlives no App: an App made again under the same name has another one
	VersionKey   string // "ver_..."; names the record, where a VersionID names the content
	DeploymentID string // "dep_..."
	TokenID      string // "tok_..."
	OperationID  string // "op_..."
	RequestID    string // "req_..."
)

// recordID is every kind of id that NewID makes.
type recordID interface {
	AppID | VersionKey | DeploymentID | TokenID | OperationID | RequestID
}

// made orders all ids of this process.
var made ULIDs

// NewID makes an id of a kind: NewID[AppID](now). It is greater than every id that this process made before.
func NewID[T recordID](now time.Time) T {
	return T(prefix[T]() + made.Next(now).String())
}

// IsID tells whether s is an id of this kind, as opposed to a name or a number.
func IsID[T recordID](s string) bool {
	rest, ok := strings.CutPrefix(s, prefix[T]())
	if !ok {
		return false
	}
	_, err := ParseULID(rest)
	return err == nil
}

func prefix[T recordID]() string {
	var id T
	switch any(id).(type) {
	case AppID:
		return "app_"
	case VersionKey:
		return "ver_"
	case DeploymentID:
		return "dep_"
	case TokenID:
		return "tok_"
	case OperationID:
		return "op_"
	default:
		return "req_"
	}
}

func checkID[T recordID](c *checker, pointer string, id T) {
	if !IsID[T](string(id)) {
		c.add(pointer, "invalid", "%.40q is not an id that begins with %s", string(id), prefix[T]())
	}
}

// CheckDigest tells whether s is a SHA-256 digest as versions and artifacts are named by: "sha256:" and 64 digits of lower-case hex.
func CheckDigest(s string) error {
	hex, ok := strings.CutPrefix(s, "sha256:")
	if ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == "" {
		return nil
	}
	return fmt.Errorf("digest %.80q is not sha256: and 64 digits of lower-case hex", s)
}
