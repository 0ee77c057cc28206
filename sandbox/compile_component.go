package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tenloom/tenloom/sandbox/component"
)

// compileComponent makes a Program of a component: it is decoded and planned each time, which takes a small part of what compiling its core modules
// does, and those are compiled and cached one by one like any core module.
func (r *Runtime) compileComponent(ctx context.Context, digest [sha256.Size]byte, wasm []byte) (_ *Program, err error) {
	decoded, err := component.Decode(wasm, component.Accept{})
	if err != nil {
		return nil, componentRefusal(err)
	}
	plan, err := decoded.Plan(r.registry.Offers())
	if err != nil {
		return nil, componentRefusal(err)
	}
	p := &Program{runtime: r, digest: digest, imports: imported(decoded)}
	handler, err := p.findComponentHandler(plan)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		for _, c := range p.cores {
			err = errors.Join(err, c.close(r))
		}
	}()
	left := r.maxModule
	for _, m := range plan.Modules {
		wasm := linked(m.Bytes())
		if left -= int64(len(wasm)); left < 0 {
			return nil, &CompileError{TooLarge, fmt.Sprintf("the core modules of the component have more than the %d bytes that are allowed, one that is instantiated with different imports counted each time", r.maxModule),
				"strip it (wasm-tools strip), or raise the limit of modules"}
		}
		c, err := r.compileCore(ctx, sha256.Sum256(wasm), wasm)
		if err != nil {
			return nil, inModule(m.Module, err)
		}
		p.cores = append(p.cores, c)
	}
	p.judge(plan)
	if p.assembly, err = r.newAssembly(ctx, plan, handler); err != nil {
		return nil, err
	}
	return p, nil
}

// linked is a core module without the section dylink.0, which tells a dynamic linker what a shared library needs: the component does its work.
func linked(wasm []byte) []byte {
	for at := 8; at < len(wasm); {
		size, n := binary.Uvarint(wasm[at+1:])
		content := at + 1 + n
		end := content + int(size)
		if n <= 0 || size > uint64(len(wasm)-content) {
			return wasm // the rewriter says what is wrong with it
		}
		if wasm[at] == 0 && bytes.HasPrefix(wasm[content:end], []byte("\x08dylink.0")) {
			return slices.Concat(wasm[:at], wasm[end:])
		}
		at = end
	}
	return wasm
}

// findComponentHandler picks the shape. The texts are Spin's (crates/trigger-redis).
func (p *Program) findComponentHandler(plan *component.Plan) (*component.Func, error) {
	iface, handler, err := plan.Handler()
	switch {
	case errors.Is(err, component.ErrManyHandlers):
		return nil, &CompileError{ManyHandlers, err.Error(), "keep the one of the SDK in use"}
	case errors.Is(err, component.ErrNoHandler):
		return nil, &CompileError{NoHandler, err.Error(), "export one of them, as Spin's SDKs do for a Redis trigger"}
	case err != nil:
		return nil, &CompileError{BadExport, err.Error(), "build with an SDK of Spin's, or against the interface's published definition"}
	case handler.Lift == nil || len(plan.Instances) == 0:
		return nil, &CompileError{BadExport, fmt.Sprintf("%s is not the component's own: it exports what it imports", iface), "export a function of the component"}
	}
	p.abi = abi{ShapeC, iface, "realloc"}
	if iface == component.HandlerV3 {
		p.abi.shape = ShapeD
	}
	return handler, nil
}

// judge works out what the instance needs and whether it can be reset.
func (p *Program) judge(plan *component.Plan) {
	p.resettable = true
	for _, i := range plan.Instances {
		c := p.cores[i.Module]
		p.memory += c.ownMemory()
		if !c.report.Linked && p.resettable {
			p.resettable, p.why = false, "of a core module "+c.report.WhyLinked
		}
	}
}

// imported lists the interfaces of a component, sorted.
func imported(c *component.Component) []string {
	all := c.Interfaces()
	for _, i := range c.Imports() {
		if i.Interface == "" {
			all = append(all, i.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// componentRefusal is package component's refusal in this package's words.
func componentRefusal(err error) error {
	var e *component.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("decode component: %w", err)
	}
	switch e.Kind {
	case component.Limit:
		return &CompileError{OverLimit, bounded(e.Error()), "make the component smaller"}
	case component.Unsupported:
		if e.Offset < 0 {
			return &CompileError{BadImport, bounded(e.Error()), "build it without them"}
		}
		return &CompileError{Unsupported, bounded(e.Error()), "build for the component model of WASI 0.2"}
	}
	return &CompileError{Malformed, bounded(e.Error()), "build the component again; if it runs elsewhere, report it"}
}

// inModule says which core module of a component an error is about.
func inModule(m *component.Module, err error) error {
	var e *CompileError
	if !errors.As(err, &e) {
		return err
	}
	return &CompileError{e.Kind, fmt.Sprintf("core module at bytes %d to %d of the component: %s", m.Start, m.End, e.Detail), e.Next}
}
