package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/rewrite"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// DefaultMaxModule is the size in bytes above which a module is refused where Config says nothing: 64 MiB.
const DefaultMaxModule int64 = 64 << 20

// compileWorkers is how many functions of a module are compiled at once. With more than one, wazero also looks at the context between functions.
const compileWorkers = 2

// Config is what a Runtime needs.
type Config struct {
	CacheDir  string       // where compiled code is kept between runs; "" keeps none. Created with mode 0700: it holds machine code that is run as it is
	Log       *slog.Logger // for the operator; nil means slog.Default
	MaxModule int64        // bytes of a module; 0 means DefaultMaxModule
	MaxIdle   int64        // bytes that instances may hold while they wait for a message, over all components; 0 means DefaultMaxIdle
	Reset     ResetMethod  // how instances are made clean; "" means the first of ResetTrials that works. New fails where one is named that does not
}

// DefaultMaxIdle is 256 MiB. An instance that would go beyond is closed instead, and those that were not used for longest make room.
const DefaultMaxIdle int64 = 256 << 20

// Runtime compiles modules and holds what all of their instances share. It is safe for concurrent use.
type Runtime struct {
	wazero    wazero.Runtime // for guests without files
	filed     wazero.Runtime // for guests with files: another WASI, the same code
	cache     wazero.CompilationCache
	cacheDir  string
	log       *slog.Logger
	maxModule int64
	offered   map[string]funcDefs // what guests may import, by module; not changed after New
	turns     *turns

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

// compilation is one module on its way to a Program, or there.
type compilation struct {
	done    chan struct{} // closed when program or err is set
	program *Program      // guarded by Runtime.mu
	err     error         // written before done is closed
}

// New starts a runtime: wazero's compiler (or its interpreter where the processor or system is not supported, which is logged: guests run
// ten times slower there), the cache directory, WASI preview 1 and the host modules of package spin.
//
// Guests are metered by the rewriter, so that one that computes comes back to Go at the end of each slice of fuel (see fuel.go).
func New(ctx context.Context, c Config) (*Runtime, error) {
	r := &Runtime{cacheDir: c.CacheDir, log: c.Log, maxModule: c.MaxModule, maxIdle: c.MaxIdle, turns: newTurns(runtime.GOMAXPROCS(0)),
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
	if err := r.openCache(); err != nil {
		return nil, err
	}
	r.wazero, r.filed = r.newWazero(ctx), r.newWazero(ctx)
	if err := errors.Join(r.define(ctx, r.wazero, true), r.define(ctx, r.filed, false)); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	if r.resetReason != "" {
		r.log.Info("instances are not reset in the cheapest way", "by", r.reset, "reason", r.resetReason)
	}
	r.trimming.Go(r.trim) // ends with Close
	return r, nil
}

// Reset tells how instances are made clean, and why not in a cheaper way; the reason is empty where there is none.
func (r *Runtime) Reset() (how ResetMethod, reason string) { return r.reset, r.resetReason }

func (r *Runtime) openCache() error {
	if r.cacheDir == "" {
		r.cache = wazero.NewCompilationCache()
		return nil
	}
	if err := os.MkdirAll(r.cacheDir, 0o700); err != nil {
		return fmt.Errorf("create compilation cache: %w", err)
	}
	info, err := os.Stat(r.cacheDir)
	if err != nil {
		return fmt.Errorf("open compilation cache: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("open compilation cache: others may write %s (mode %#o), and what it holds is run as machine code; chmod 700 it", r.cacheDir, info.Mode().Perm())
	}
	if r.cache, err = wazero.NewCompilationCacheWithDir(r.cacheDir); err != nil {
		return fmt.Errorf("open compilation cache: %w", err)
	}
	return nil
}

// newWazero chooses the compiler. wazero has no question for it: asking for the compiler panics where there is none.
func (r *Runtime) newWazero(ctx context.Context) (w wazero.Runtime) {
	configure := func(c wazero.RuntimeConfig) wazero.RuntimeConfig {
		return c.WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst).
			WithDebugInfoEnabled(false). // DWARF is the guest's word, and parsed without bounds
			WithCompilationCache(r.cache)
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.Warn("no compiler for this processor or system: guests are interpreted and run ten times slower", "reason", fmt.Sprint(p))
			w = wazero.NewRuntimeWithConfig(ctx, configure(wazero.NewRuntimeConfigInterpreter()))
		}
	}()
	return wazero.NewRuntimeWithConfig(ctx, configure(wazero.NewRuntimeConfigCompiler()))
}

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
	if e := r.cache.Close(ctx); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("close sandbox: %w", err)
	}
	return nil
}

// Compile makes a Program of a module, or returns the one it made of the same bytes before; callers that arrive while it compiles share the
// work. Each Program returned must be closed once. An error about the module is a *CompileError; cancelling ctx ends a compilation between
// two functions of the module.
func (r *Runtime) Compile(ctx context.Context, wasm []byte) (*Program, error) {
	if int64(len(wasm)) > r.maxModule {
		return nil, &CompileError{TooLarge, fmt.Sprintf("the module has %d bytes, at most %d are allowed", len(wasm), r.maxModule),
			"strip it (wasm-tools strip, or -ldflags='-s -w' in Go), or raise the limit of modules"}
	}
	if err := checkHeader(wasm); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(wasm)
	for {
		c, mine := r.join(digest)
		if mine {
			return r.lead(ctx, c, digest, wasm)
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("compile: %w", ctx.Err())
		}
		if p := r.retain(c); p != nil {
			return p, nil
		}
		if c.err != nil && !cancelled(c.err) {
			return nil, c.err
		}
	}
}

// cancelled tells an error that belongs to the caller who compiled from one that belongs to the module.
func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// join finds the compilation of a digest, or starts one that is the caller's to finish.
func (r *Runtime) join(digest [sha256.Size]byte) (c *compilation, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.programs[digest]; ok {
		return c, false
	}
	c = &compilation{done: make(chan struct{})}
	r.programs[digest] = c
	return c, true
}

// retain takes one more reference to a finished compilation's Program, nil where there is none (any more).
func (r *Runtime) retain(c *compilation) *Program {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.program == nil || c.program.references == 0 {
		return nil
	}
	c.program.references++
	return c.program
}

func (r *Runtime) lead(ctx context.Context, c *compilation, digest [sha256.Size]byte, wasm []byte) (*Program, error) {
	p, err := r.compile(ctx, digest, wasm)
	r.mu.Lock()
	if err != nil {
		delete(r.programs, digest)
	} else {
		p.references = 1
	}
	c.program, c.err = p, err
	r.mu.Unlock()
	close(c.done)
	return p, err
}

func (r *Runtime) compile(ctx context.Context, digest [sha256.Size]byte, wasm []byte) (*Program, error) {
	metered, report, err := rewrite.Module(wasm, rewrite.Options{RefuelModule: fuelModule, RefuelName: refuelName})
	if err != nil {
		return nil, rewriteRefusal(err)
	}
	compiled, err := r.wazero.CompileModule(experimental.WithCompilationWorkers(ctx, compileWorkers), metered)
	if err != nil {
		return nil, r.refusal(err)
	}
	p, err := newProgram(r, digest, metered, compiled, report)
	if err != nil {
		return nil, errors.Join(err, compiled.Close(ctx))
	}
	return p, nil
}

// rewriteRefusal is the rewriter's refusal in this package's words.
func rewriteRefusal(err error) error {
	var e *rewrite.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("rewrite: %w", err)
	}
	switch e.Kind {
	case rewrite.Limit:
		return &CompileError{OverLimit, e.Error(), "split the function or module, or build it with less inlining"}
	case rewrite.Unsupported:
		return &CompileError{Unsupported, e.Error(), "build for WebAssembly 2.0 without further proposals"}
	case rewrite.Reserved:
		return &CompileError{BadImport, e.Error(), "rename it: the platform uses this name"}
	}
	return &CompileError{Malformed, e.Error(), "build the component again; if it runs elsewhere, report it"}
}

// refusal tells what is wrong with the module from what is wrong around it.
func (r *Runtime) refusal(err error) error {
	var path *fs.PathError
	switch text := err.Error(); {
	case cancelled(err), strings.HasPrefix(text, "runtime closed"):
		return fmt.Errorf("compile: %w", err)
	case errors.As(err, &path), strings.Contains(text, "compilationcache"):
		return fmt.Errorf("compile: %w; the compilation cache %s may be emptied at any time", err, r.cacheDir)
	case strings.Contains(text, "disabled"): // wazero: feature "..." is disabled
		return &CompileError{Unsupported, bounded(text), "build for WebAssembly 2.0 without further proposals"}
	default:
		return &CompileError{Malformed, bounded(text), "build the component again; if it runs elsewhere, report it"}
	}
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
