package tenants

import (
	"fmt"
	"time"
)

// Tuning is what a Connection says beside its address: what a component file of Dapr can set. Where a duration or count is 0 the default of
// tenants/endpoint holds; a negative duration means none.
type Tuning struct {
	Kind string // of the component: BindingComponent or PubSubComponent

	ServerName  string // to find in the server's certificate; "" means the host that is dialled
	Insecure    bool   // any certificate will do
	Certificate string // the client's own, PEM, at most 32 KiB; its key is in the Connection's Keys

	Retries                   int // of a binding's operation, after the first try; at most 100, negative means none
	MinBackoff, MaxBackoff    time.Duration
	DialTimeout               time.Duration
	ReadTimeout, WriteTimeout time.Duration
	PoolTimeout               time.Duration // waiting for a socket
	PoolSize, MinIdle         int
	MaxAge, IdleTimeout       time.Duration // of a socket
	Group                     string        // of consumers of a stream
	ProcessingTimeout         time.Duration // after which an entry of a stream is somebody else's
	RedeliverInterval         time.Duration // between two looks for such entries
	QueueDepth, Concurrency   int
	MaxLen                    int64         // entries that a stream keeps when one is added, about; 0 all
	StreamTTL                 time.Duration // how old an entry may be when one is added; 0 any age
	Apps                      []AppName     // that may use the connection; none means all
	// Fields are what the component file says and what it leaves out, by name: the value, masked where it is secret, and where it came from.
	Fields map[string]string
}

// Kinds of components.
const (
	BindingComponent = "bindings.redis"
	PubSubComponent  = "pubsub.redis"
)

// MarshalJSON writes names in snake_case and durations as "30s".
func (t Tuning) MarshalJSON() ([]byte, error) { return encodeFields(t) }

// UnmarshalJSON sets what b gives. All faults come at once, as Faults.
func (t *Tuning) UnmarshalJSON(b []byte) error { return decodeFields(b, t) }

const (
	maxTuned       = 1000
	maxRetries     = 100
	maxTuningField = 64
)

func (t *Tuning) check(c *checker) {
	if t.Kind != BindingComponent && t.Kind != PubSubComponent {
		c.add("/tuning/kind", "invalid", "it is neither %s nor %s", BindingComponent, PubSubComponent)
	}
	c.count("/tuning/certificate", len(t.Certificate), 32<<10, "bytes")
	c.count("/tuning/server_name", len(t.ServerName), 253, "bytes")
	c.count("/tuning/group", len(t.Group), 256, "bytes")
	c.count("/tuning/apps", len(t.Apps), maxTuned, "apps")
	c.count("/tuning/fields", len(t.Fields), maxTuningField, "fields")
	for _, n := range []struct {
		name        string
		value, most int
	}{{"retries", t.Retries, maxRetries}, {"pool_size", t.PoolSize, maxTuned}, {"min_idle", t.MinIdle, maxTuned},
		{"queue_depth", t.QueueDepth, 100 * maxTuned}, {"concurrency", t.Concurrency, maxTuned}} {
		if n.value > n.most {
			c.add("/tuning/"+n.name, "too_large", "%d is more than %d", n.value, n.most)
		}
	}
	for name, value := range t.Fields {
		c.count("/tuning/fields/"+name, len(value), 512, "bytes")
	}
}

// SameSockets tells whether two connections are dialled alike, leaving the login out.
func (t *Tuning) SameSockets(as *Tuning) bool {
	if t == nil || as == nil {
		return t == as
	}
	a, b := *t, *as
	for _, x := range []*Tuning{&a, &b} {
		x.Apps, x.Fields = nil, nil
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}
