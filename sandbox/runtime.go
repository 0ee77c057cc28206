package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// DefaultMaxModule is the size in bytes above which a module is refused where Config says nothing: 64 MiB.
const DefaultMaxModule int64 = 64 << 20

// Config is what a Runtime needs.
type Config struct {
	CacheDir   string       // where compiled code is kept between runs; "" keeps none. Created with mode 0700: it holds machine code that is run as it is
	CacheBytes int64        // of all files in CacheDir, those not used for longest go first; 0 means DefaultCacheBytes
	Log        *slog.Logger // for the operator; nil means slog.Default
	MaxModule  int64        // bytes of a module; 0 means DefaultMaxModule

	CompileTime   time.Duration // for one module, waiting for others not counted; 0 means DefaultCompileTime
	CompileApart  []string      // command line of a process that compiles one module, see CompileCommand; nil compiles in this process
	CompileMemory int64         // bytes that such a process may use beside what it starts with, where the system has a limit for it (Linux); 0 means DefaultCompileMemory

	Interfaces []host.Interface // that components may import beside those that the sandbox has; core modules have none of them

	MaxIdle int64       // bytes that instances may hold while they wait for a message, over all components; 0 means DefaultMaxIdle
	Reset   ResetMethod // how instances are made clean; "" means the first of ResetTrials that works. New fails where one is named that does not
}

// Defaults of what compiling one module may take.
const (
	DefaultCompileTime         = time.Minute
	DefaultCompileMemory int64 = 2 << 30
)

// DefaultMaxIdle is 256 MiB. An instance that would go beyond is closed instead, and those that were not used for longest make room.
const DefaultMaxIdle int64 = 256 << 20

// Runtime compiles modules and holds what all of their instances share. It is safe for concurrent use.
type Runtime struct {
	wazero    wazero.Runtime // for guests without files
	filed     wazero.Runtime // for guests with files: another WASI, the same code
	cache     *codeCache
	log       *slog.Logger
	maxModule int64
	offered   map[string]funcDefs // what core modules may import, by module; not changed after New
	registry  *host.Registry      // what components may import
	refuel    api.Module          // of core modules of components
	turns     *turns

	compiling     chan struct{} // holds one for each compilation that runs
	compileTime   time.Duration
	compileMemory int64
	apart         []string // command line of a process that compiles; nil where this one does
	temporary     string   // a cache directory that Close removes; "" where there is none

	reset       ResetMethod
	resetReason string // why no better one is used

	idleBytes atomic.Int64
	maxIdle   int64
	full      chan struct{} // capacity 1: the budget is used up, see squeeze
	stop      chan struct{} // closed by Close
	trimming  sync.WaitGroup
	closing   sync.Once

	mu         sync.Mutex
	components map[*Component]struct{}            // that may have instances waiting
	programs   map[[sha256.Size]byte]*compilation // open Programs and those being compiled; its callers bound it by closing Programs
}

type funcDefs map[string]api.FunctionDefinition

// New starts a runtime: wazero's compiler (or its interpreter where the processor or system is not supported, which is logged: guests run
// ten times slower there), the cache directory, WASI preview 1 and the host modules of package spin.
//
// Guests are metered by the rewriter, so that one that computes comes back to Go at the end of each slice of fuel (see fuel.go).
func New(ctx context.Context, c Config) (*Runtime, error) {
	r := &Runtime{log: c.Log, maxModule: c.MaxModule, maxIdle: c.MaxIdle, turns: newTurns(runtime.GOMAXPROCS(0)),
		components: map[*Component]struct{}{}, programs: map[[sha256.Size]byte]*compilation{}, full: make(chan struct{}, 1), stop: make(chan struct{})}
	if r.maxIdle == 0 {
		r.maxIdle = DefaultMaxIdle
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.maxModule == 0 {
		r.maxModule = DefaultMaxModule
	}
	var err error
	if r.reset, r.resetReason, err = chooseReset(c.Reset); err != nil {
		return nil, err
	}
	if r.registry, err = host.New(slices.Concat(c.Interfaces, wasi.Interfaces(), spin.Interfaces())...); err != nil {
		return nil, err
	}
	if err := r.openCompiler(ctx, c); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	if err := errors.Join(r.define(ctx, r.wazero, true), r.define(ctx, r.filed, false)); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	if r.refuel, err = linkRefuel(ctx, r.wazero); err != nil {
		return nil, errors.Join(fmt.Errorf("define %s: %w", fuelModule, err), r.Close(ctx))
	}
	if r.resetReason != "" && c.Reset == "" {
		r.log.Info("instances are not reset in the cheapest way", "by", r.reset, "reason", r.resetReason)
	}
	r.trimming.Go(r.trim) // ends with Close
	return r, nil
}

// Reset tells how instances are made clean, and why not in a cheaper way; the reason is empty where there is none.
func (r *Runtime) Reset() (how ResetMethod, reason string) { return r.reset, r.resetReason }

// define instantiates the host modules and notes what they offer.
func (r *Runtime) define(ctx context.Context, w wazero.Runtime, sealed bool) error {
	if err := defineWASI(ctx, w, sealed); err != nil {
		return fmt.Errorf("define %s: %w", wasiModule, err)
	}
	if err := defineRefuel(ctx, w); err != nil {
		return fmt.Errorf("define %s: %w", fuelModule, err)
	}
	if err := spin.Define(ctx, w); err != nil {
		return fmt.Errorf("define Spin's interfaces: %w", err)
	}
	r.offered = map[string]funcDefs{}
	for _, name := range append(spin.Offered(), wasiModule) {
		m := w.Module(name)
		if m == nil {
			return fmt.Errorf("define Spin's interfaces: %s is offered but not defined", name)
		}
		r.offered[name] = m.ExportedFunctionDefinitions()
	}
	return nil
}

// Close frees what New made. Call it when no invocation runs any more. A second call does nothing.
func (r *Runtime) Close(ctx context.Context) error {
	r.closing.Do(func() { close(r.stop) })
	r.trimming.Wait()
	r.mu.Lock()
	all := r.components
	r.components = map[*Component]struct{}{}
	r.mu.Unlock()
	for c := range all {
		c.Close()
	}
	var err error
	for _, w := range []wazero.Runtime{r.wazero, r.filed} {
		if w != nil {
			err = errors.Join(err, w.Close(ctx))
		}
	}
	err = errors.Join(err, r.closeCompiler(ctx))
	if err != nil {
		return fmt.Errorf("close sandbox: %w", err)
	}
	return nil
}

// register makes a component's waiting instances known to trim.
func (r *Runtime) register(c *Component) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.components[c] = struct{}{}
}

func (r *Runtime) forget(c *Component) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.components, c)
}
