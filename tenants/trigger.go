package tenants

import "fmt"

// Kind says how a Target is subscribed to.
type Kind uint8

const (
	Exact   Kind = iota // SUBSCRIBE
	Pattern             // PSUBSCRIBE, with Redis' own glob rules
	Sharded             // SSUBSCRIBE
	Stream              // XREADGROUP
)

func (k Kind) String() string {
	switch k {
	case Exact:
		return "channel"
	case Pattern:
		return "pattern"
	case Sharded:
		return "sharded"
	case Stream:
		return "stream"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Target is a channel, pattern, sharded channel or stream of an Endpoint.
type Target struct {
	Kind Kind
	Name string
}

// Trigger says that a Target wakes a Component.
type Trigger struct {
	Tenant    ID
	App       AppName
	Version   VersionID
	ID        string // unique within the App
	Component ComponentID
	Endpoint  EndpointID
	Target    Target
	Limits    Limits
	Isolation Isolation
	Why       string // it has this Isolation and not another, where that is not what was asked for
}

func (t Trigger) String() string {
	return fmt.Sprintf("%s/%s %s -> %s", t.Tenant, t.App, t.Target.Name, t.Component)
}
