package sandbox

import (
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"
)

// snapshot is a component right after its start: what every message finds. Components that start alike have one together (share.go).
type snapshot struct {
	image   *image
	size    uint64   // bytes of memory
	globals []uint64 // values of Program.globals

	references int // components that have it; this and what follows under Program.mu
	offered    bool
	key        snapshotKey // where offered
}

// take makes the snapshot of an instance that has started and has seen no message.
func (i *instance) take() (*snapshot, error) {
	size := uint64(i.module.Memory().Size())
	image, err := newImage(i.memory.region.prefix(size), i.restorer.how)
	if err != nil {
		return nil, err
	}
	s := &snapshot{image: image, size: size, references: 1}
	for _, g := range i.globals {
		s.globals = append(s.globals, g.Get())
	}
	return s, nil
}

// become makes an instance that has only been linked equal to the one that the snapshot was taken of.
func (i *instance) become(s *snapshot) error {
	if have := uint64(i.module.Memory().Size()); have < s.size {
		if _, ok := i.module.Memory().Grow(uint32((s.size - have) >> 16)); !ok {
			return fmt.Errorf("grow memory to the snapshot's %d bytes", s.size)
		}
	}
	if err := s.image.cover(&i.memory.region); err != nil {
		return err
	}
	i.setGlobals(s)
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
	if have := uint64(i.module.Memory().Size()); have > s.size {
		if err := i.memory.region.clear(s.size); err != nil {
			return err
		}
		if !i.memory.shrink(i.module.Memory(), s.size) {
			return errFull
		}
	}
	if err := i.restorer.restore(&i.memory.region, s.image); err != nil {
		return err
	}
	i.setGlobals(s)
	return nil
}

// errFull is the end of an instance whose memory cannot be made smaller.
var errFull = errors.New("memory has grown to its maximum")

// globals finds the mutable globals that the rewriter exported.
func (i *instance) findGlobals() error {
	p := i.component.program
	i.globals = make([]api.MutableGlobal, len(p.report.Globals))
	for k, name := range p.report.Globals {
		g, ok := i.module.ExportedGlobal(name).(api.MutableGlobal)
		if !ok {
			return fmt.Errorf("global %s is not there", name)
		}
		i.globals[k] = g
	}
	fuel, ok := i.module.ExportedGlobal(p.report.Fuel).(api.MutableGlobal)
	if !ok {
		return fmt.Errorf("global %s is not there", p.report.Fuel)
	}
	i.fuel = fuel
	return nil
}
