package sandbox

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// snapshot is a component right after its start: what every message finds. Components that start alike have one together (share.go).
type snapshot struct {
	memories []frozen // in the order in which an instance has its memories
	size     uint64   // bytes of all of them
	globals  []uint64 // values of instance.globals

	references int // components that have it; this and what follows under Program.mu
	offered    bool
	key        snapshotKey // where offered
}

// frozen is one memory.
type frozen struct {
	image *image
	size  uint64 // bytes
}

func (s *snapshot) close() {
	for _, f := range s.memories {
		f.image.close()
	}
}

// take makes the snapshot of an instance that has started and has seen no message.
func (i *instance) take() (*snapshot, error) {
	s := &snapshot{references: 1}
	for _, m := range i.memories {
		image, err := newImage(m.region.prefix(m.size), m.restorer.how)
		if err != nil {
			s.close()
			return nil, err
		}
		s.memories = append(s.memories, frozen{image, m.size})
		s.size += m.size
	}
	for _, g := range i.globals {
		s.globals = append(s.globals, g.Get())
	}
	return s, nil
}

// become makes an instance that has only been linked equal to the one that the snapshot was taken of.
func (i *instance) become(s *snapshot) error {
	for k, m := range i.memories {
		f := s.memories[k]
		if m.size < f.size {
			if _, ok := m.of.Grow(uint32((f.size - m.size) >> 16)); !ok {
				return fmt.Errorf("grow memory to the snapshot's %d bytes", f.size)
			}
		}
	}
	if err := i.cover(s); err != nil {
		return err
	}
	i.setGlobals(s)
	return nil
}

// cover maps the snapshot's images over the memories.
func (i *instance) cover(s *snapshot) error {
	for k, m := range i.memories {
		if err := s.memories[k].image.cover(&m.region); err != nil {
			return err
		}
	}
	return nil
}

func (i *instance) setGlobals(s *snapshot) {
	for k, g := range i.globals {
		g.Set(s.globals[k])
	}
}

// reset makes an instance that has handled a message equal to the snapshot again. The caller is on the thread that ran the message, locked
// to it since restorer.begin.
func (i *instance) reset(s *snapshot) error {
	for k, m := range i.memories {
		f := &s.memories[k]
		if m.size > f.size {
			if err := m.region.clear(f.size); err != nil {
				return err
			}
			if !m.shrink(f.size) {
				return errFull
			}
		}
		if err := m.restorer.restore(&m.region, f.image); err != nil {
			return err
		}
	}
	i.setGlobals(s)
	return nil
}

// What the restorers of all memories are told; see restorer.

func (i *instance) watch() {
	for _, m := range i.memories {
		m.restorer.begin()
	}
}

func (i *instance) moved() {
	for _, m := range i.memories {
		m.restorer.moved()
	}
}

func (i *instance) unwatch() {
	for _, m := range i.memories {
		m.restorer.leave()
	}
}

func (i *instance) private() (n int64) {
	for _, m := range i.memories {
		n += m.restorer.private()
	}
	return n
}

// errFull is the end of an instance whose memory cannot be made smaller.
var errFull = errors.New("memory has grown to its maximum")

// findGlobals finds the mutable globals that the rewriter exported from a module.
func (i *instance) findGlobals(module api.Module, report *rewrite.Report) error {
	i.globals = slices.Grow(i.globals, len(report.Globals))
	for _, name := range report.Globals {
		g, ok := module.ExportedGlobal(name).(api.MutableGlobal)
		if !ok {
			return fmt.Errorf("global %s is not there", name)
		}
		i.globals = append(i.globals, g)
	}
	fuel, ok := module.ExportedGlobal(report.Fuel).(api.MutableGlobal)
	if !ok {
		return fmt.Errorf("global %s is not there", report.Fuel)
	}
	i.fuels = append(i.fuels, fuel)
	return nil
}
