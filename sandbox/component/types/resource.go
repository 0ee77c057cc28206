package types

import "sync/atomic"

// Resource is the identity of a resource type; see the package's documentation. Compare pointers, never names.
type Resource struct {
	name string
	id   uint64
}

var resources atomic.Uint64

// NewResource makes an identity that equals no other. The name is for messages.
func NewResource(name string) *Resource { return &Resource{name: name, id: resources.Add(1)} }

// Name is what messages call the resource.
func (r *Resource) Name() string {
	if r.name == "" {
		return "resource"
	}
	return r.name
}
