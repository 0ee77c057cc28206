package tenants

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ID names a tenant: a DNS label (RFC 1123), unique in the installation.
type ID string

// AppName names an application within its tenant.
type AppName string

// ComponentID names one Wasm unit within its application.
type ComponentID string

// VersionID names an application's immutable code and configuration: "sha256:" and 64 hex digits.
type VersionID string

// EndpointID names a Redis server or cluster together with the credential to use on it.
type EndpointID string

// Demo is the tenant that "tenloom up" runs an application as.
const Demo ID = "demo"

// CheckName tells whether s is a DNS label: 1 to 63 of a-z, 0-9 and "-", beginning and ending with a letter or digit.
func CheckName(s string) error {
	if s == "" {
		return errors.New("a name must not be empty")
	}
	if len(s) > 63 {
		return fmt.Errorf("name %.20q... has %d characters, at most 63 are allowed", s, len(s))
	}
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return fmt.Errorf("name %q may hold a-z, 0-9 and inner \"-\" only; got %q", s, c)
		}
	}
	return nil
}

// ULID is 48 bits of milliseconds since 1970 and 80 random bits: sortable by time, and unique without asking anybody.
// See https://github.com/ulid/spec.
type ULID [16]byte

// MessageID names one Message.
type MessageID ULID

// InvocationID names one run of a component.
type InvocationID ULID

func (id MessageID) String() string    { return "msg_" + ULID(id).String() }
func (id InvocationID) String() string { return "inv_" + ULID(id).String() }

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// String gives the 26 characters of Crockford's base 32.
func (u ULID) String() string {
	var out [26]byte
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for i := 25; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// ParseULID reads what String wrote.
func ParseULID(s string) (ULID, error) {
	var u ULID
	if len(s) != 26 || s[0] > '7' {
		return u, fmt.Errorf("%.40q is not an id of 26 characters", s)
	}
	var hi, lo uint64
	for i := range len(s) {
		v := crockfordValue(s[i])
		if v > 31 {
			return u, fmt.Errorf("%q is not an id: character %q", s, s[i])
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | v
	}
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u, nil
}

func crockfordValue(c byte) uint64 {
	for i := range len(crockford) {
		if crockford[i] == c {
			return uint64(i)
		}
	}
	return 255
}

// Sequence makes ULIDs that grow: within one millisecond each is the one before it plus one, so a run of them costs one random read. One
// goroutine uses it.
type Sequence struct {
	high, low uint64
	ms        int64
}

// Next returns an id for the given time, greater than every id returned before. A clock that stands still or goes back costs the
// timestamp's truth, not the order. Times before 1970 count as 1970.
func (s *Sequence) Next(at time.Time) (u ULID) {
	if ms := max(at.UnixMilli(), 0); ms > s.ms || s.high == 0 && s.low == 0 {
		s.begin(ms)
	} else if s.low++; s.low == 0 {
		s.high++
	}
	binary.BigEndian.PutUint64(u[:8], s.high)
	binary.BigEndian.PutUint64(u[8:], s.low)
	return u
}

func (s *Sequence) begin(ms int64) {
	var random [10]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	s.ms = ms
	s.high = uint64(ms)<<16 | uint64(binary.BigEndian.Uint16(random[:]))
	s.low = binary.BigEndian.Uint64(random[2:])
}

// ULIDs is a Sequence for any number of goroutines.
type ULIDs struct {
	mu       sync.Mutex
	sequence Sequence
}

// Next is Sequence.Next.
func (g *ULIDs) Next(at time.Time) ULID {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sequence.Next(at)
}
