package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"maps"
	"slices"
)

// Components of one Program start alike unless their start asks the host for something that is theirs. So the snapshot of the first serves
// the others too: a thousand applications of one module run its start once and keep one image. What a start draws by chance stays within an
// owner, so that nobody learns from a guest of his own what another's hash tables are seeded with.

// snapshotKey tells which components may share a snapshot.
type snapshotKey struct {
	env   [sha256.Size]byte
	owner string // "" where the start drew no random numbers
}

// beginning notes what a start did that another component's start might do differently.
type beginning struct {
	instance *instance
	drew     bool // random numbers
}

// Read is the random source of an instance that starts, and then handles messages.
func (b *beginning) Read(into []byte) (int, error) {
	if b.instance.stage <= starting {
		b.drew = true
	}
	return random.Read(into)
}

// sharedAs says with whom the snapshot of an instance that has just started may be shared: under which key, or with nobody.
func (i *instance) sharedAs() (key snapshotKey, ok bool) {
	c := i.component
	switch {
	case c.binding.Files != nil, i.call.Used(), i.stdout.wrote() || i.stderr.wrote(), i.quota.refused > 0:
		return key, false
	case i.beginning.drew && c.binding.Owner == "":
		return key, false
	case i.beginning.drew:
		return snapshotKey{c.env, c.binding.Owner}, true
	}
	return snapshotKey{env: c.env}, true
}

// share returns a snapshot that serves this component as well, with a reference of its own, or nil.
func (c *Component) share() *snapshot {
	if c.binding.Files != nil {
		return nil
	}
	p := c.program
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, owner := range []string{"", c.binding.Owner} {
		if s := p.snapshots[snapshotKey{c.env, owner}]; s != nil && s.size <= c.binding.Memory {
			s.references++
			return s
		}
	}
	return nil
}

// offer lets other components have a snapshot too, from then on until the last of them closes.
func (p *Program) offer(s *snapshot, key snapshotKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snapshots[key] != nil {
		return
	}
	if p.snapshots == nil {
		p.snapshots = map[snapshotKey]*snapshot{}
	}
	s.key, s.offered = key, true
	p.snapshots[key] = s
}

// release gives up one component's reference.
func (p *Program) release(s *snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.references--; s.references > 0 {
		return
	}
	if s.offered {
		delete(p.snapshots, s.key)
	}
	s.close()
}

// digestEnv is the environment as a key.
func digestEnv(env map[string]string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		writeCounted(h, name)
		writeCounted(h, env[name])
	}
	h.Sum(sum[:0])
	return sum
}

func writeCounted(h hash.Hash, s string) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
	io.WriteString(h, s)
}
