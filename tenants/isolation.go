package tenants

import "fmt"

// Isolation says what a message may find in its component's instance.
type Isolation uint8

const (
	Reset Isolation = iota // an instance that was set back to what its start left
	Fresh                  // a new instance
	Reuse                  // an instance as the messages before it left it
)

var isolationNames = []string{"reset", "fresh", "reuse"}

func (i Isolation) String() string {
	if int(i) < len(isolationNames) {
		return isolationNames[i]
	}
	return fmt.Sprintf("isolation(%d)", uint8(i))
}

// MarshalText gives the name.
func (i Isolation) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the name.
func (i *Isolation) UnmarshalText(b []byte) error {
	for n, name := range isolationNames {
		if name == string(b) {
			*i = Isolation(n)
			return nil
		}
	}
	return fmt.Errorf("unknown isolation %.40q", b)
}
