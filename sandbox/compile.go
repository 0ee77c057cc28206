package sandbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/rewrite"
)

const (
	compilations   = 2 // modules that are compiled at once, over the Runtime; others wait, each as long as its caller does
	compileWorkers = 2 // functions of a module that are compiled at once. With more than one, wazero also looks at the context between functions
)

// rewriting is how every module is rewritten.
var rewriting = rewrite.Options{RefuelModule: fuelModule, RefuelName: refuelName, TailCalls: true}

// openCompiler makes what Compile needs. A process apart hands code over in a directory, so there is one in any case then.
func (r *Runtime) openCompiler(ctx context.Context, c Config) (err error) {
	r.compiling = make(chan struct{}, compilations)
	r.compileTime = cmp.Or(c.CompileTime, DefaultCompileTime)
	r.compileMemory = cmp.Or(c.CompileMemory, DefaultCompileMemory)
	dir := c.CacheDir
	if dir == "" && c.CompileApart != nil {
		if dir, err = os.MkdirTemp("", "tenloom-code-"); err != nil { // mode 0700
			return fmt.Errorf("create compilation cache: %w", err)
		}
		r.temporary = dir
	}
	if r.cache, err = openCache(dir, cmp.Or(c.CacheBytes, DefaultCacheBytes), r.log); err != nil {
		return err
	}
	r.wazero, r.filed = newWazero(ctx, r.cache.engine, r.log), newWazero(ctx, r.cache.engine, r.log)
	if err := r.cache.find(ctx, r.wazero); err != nil {
		return err
	}
	switch {
	case dir != "" && !r.cache.kept():
		r.log.Warn("compiled code cannot be kept: modules are compiled in this process, at each start", "cache", dir)
	case c.CompileApart != nil:
		r.apart = c.CompileApart
	}
	return nil
}

// closeCompiler is called when both of wazero's runtimes are closed.
func (r *Runtime) closeCompiler(ctx context.Context) (err error) {
	if r.cache != nil {
		err = r.cache.engine.Close(ctx)
	}
	if r.temporary != "" {
		err = errors.Join(err, os.RemoveAll(r.temporary))
	}
	return err
}

// compilation is one module on its way to a Program, or there.
type compilation struct {
	done    chan struct{} // closed when program or err is set
	program *Program      // guarded by Runtime.mu
	err     error         // written before done is closed
}

// Compile makes a Program of a core module or a component, or returns the one it made of the same bytes before; callers that arrive while it compiles share the
// work. Each Program returned must be closed once. An error about the module is a *CompileError; cancelling ctx ends a compilation between
// two functions of the module, or at once where it is done in a process apart.
//
// A module that lies in the cache is neither rewritten nor compiled again, whoever put it there.
func (r *Runtime) Compile(ctx context.Context, wasm []byte) (*Program, error) {
	return r.CompileKnown(ctx, sha256.Sum256(wasm), wasm)
}

// CompileKnown is Compile for who knows the module's digest already and has held the bytes against it: of a module that is known here they are
// not read again.
func (r *Runtime) CompileKnown(ctx context.Context, digest [sha256.Size]byte, wasm []byte) (*Program, error) {
	if int64(len(wasm)) > r.maxModule {
		return nil, &CompileError{TooLarge, fmt.Sprintf("the module has %d bytes, at most %d are allowed", len(wasm), r.maxModule),
			"strip it (wasm-tools strip, or -ldflags='-s -w' in Go), or raise the limit of modules"}
	}
	if err := checkHeader(wasm); err != nil {
		return nil, err
	}
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

// compile makes a Program of a core module or a component.
func (r *Runtime) compile(ctx context.Context, digest [sha256.Size]byte, wasm []byte) (*Program, error) {
	if component.Is(wasm) {
		return r.compileComponent(ctx, digest, wasm)
	}
	c, err := r.compileCore(ctx, digest, wasm)
	if err != nil {
		return nil, err
	}
	p, err := newProgram(r, digest, c)
	if err != nil {
		return nil, errors.Join(err, c.close(r))
	}
	return p, nil
}

// compileCore takes a core module's code from the cache, or compiles it: in a process apart where the Runtime has one, and in this one else.
func (r *Runtime) compileCore(ctx context.Context, digest [sha256.Size]byte, wasm []byte) (*code, error) {
	key := r.cache.key(digest)
	if c, err := r.load(key); c != nil || err != nil {
		return c, err
	}
	select {
	case r.compiling <- struct{}{}:
		defer func() { <-r.compiling }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to compile: %w", ctx.Err())
	}
	defer r.cache.bound.keep(r.cache.dir)
	if r.apart != nil {
		return r.compileApart(ctx, key, wasm)
	}
	return r.compileHere(ctx, key, wasm)
}

// load makes code of what the cache holds under the key. A miss is nil without an error; what is damaged counts as one and is removed.
func (r *Runtime) load(key string) (*code, error) {
	e, err := r.cache.read(key)
	if err != nil {
		r.log.Debug("compiled code is not used", "reason", err)
		return nil, nil
	}
	if e == nil {
		return nil, nil
	}
	r.cache.hold(e.files)
	compiled, err := r.wazero.CompileModule(onlyCached, e.outline)
	if err != nil {
		r.cache.release(e.files)
		if strings.HasPrefix(err.Error(), closedPrefix) {
			return nil, fmt.Errorf("compile: %w", err)
		}
		r.log.Debug("compiled code is not used", "reason", err)
		r.cache.remove(e.files)
		return nil, nil
	}
	return &code{e.outline, e.report, compiled, e.files}, nil
}

// onlyCached is a context in which wazero takes a module's code from its cache and else fails: it looks at it between functions, before the
// first one too, and not when it finds the code. So an outline never runs as what it is.
var onlyCached = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return experimental.WithCompilationWorkers(ctx, compileWorkers)
}()

// compileHere compiles in this process. Where its code can be kept, that is what is used: the functions' bodies are then no longer held in memory.
func (r *Runtime) compileHere(ctx context.Context, key string, wasm []byte) (*code, error) {
	m, err := compileModule(ctx, r.wazero, r.compileTime, wasm)
	if err != nil {
		return nil, r.cache.explain(err)
	}
	if r.cache.kept() {
		err := r.cache.add(key, m)
		if err == nil {
			if c, err := r.load(key); c != nil || err != nil {
				return c, errors.Join(err, m.compiled.Close(ctx))
			}
			err = errors.New("it was removed or changed at once")
		}
		r.log.Warn("a module's compiled code is not kept: the next start compiles it again", "cache", r.cache.dir, "error", err)
	}
	return &code{wasm: m.metered, report: m.report, compiled: m.compiled}, nil
}

// compiledModule is a module, rewritten and compiled.
type compiledModule struct {
	metered  []byte
	report   rewrite.Report
	compiled wazero.CompiledModule
}

// errTooLong is why a compilation's context ends at its deadline.
var errTooLong = errors.New("the time for compiling is over")

// compileModule rewrites and compiles a module within the limit, which wazero looks at between functions: the rewriter's limits hold down
// what one of them can take.
func compileModule(ctx context.Context, w wazero.Runtime, limit time.Duration, wasm []byte) (*compiledModule, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
	defer cancel()
	metered, report, err := rewrite.Module(wasm, rewriting)
	if err != nil {
		return nil, rewriteRefusal(err)
	}
	compiled, err := w.CompileModule(experimental.WithCompilationWorkers(ctx, compileWorkers), metered)
	if errors.Is(err, errTooLong) {
		return nil, tookTooLong(limit, len(wasm))
	}
	if err != nil {
		return nil, refusal(err)
	}
	return &compiledModule{metered, report, compiled}, nil
}

// closedPrefix begins what wazero answers after Close.
const closedPrefix = "runtime closed"

// refusal tells what is wrong with the module from what is wrong around it.
func refusal(err error) error {
	var path *fs.PathError
	switch text := err.Error(); {
	case cancelled(err), strings.HasPrefix(text, closedPrefix):
		return fmt.Errorf("compile: %w", err)
	case errors.As(err, &path), strings.Contains(text, "compilationcache"):
		return &cacheError{err}
	case strings.Contains(text, "disabled"): // wazero: feature "..." is disabled
		return &CompileError{Unsupported, bounded(text), "build for WebAssembly 2.0 without further proposals"}
	default:
		return &CompileError{Malformed, bounded(text), "build the component again; if it runs elsewhere, report it"}
	}
}

// newWazero chooses the compiler. wazero has no question for it: asking for the compiler panics where there is none.
func newWazero(ctx context.Context, cache wazero.CompilationCache, log *slog.Logger) (w wazero.Runtime) {
	configure := func(c wazero.RuntimeConfig) wazero.RuntimeConfig {
		return c.WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall).
			WithDebugInfoEnabled(false). // DWARF is the guest's word, and parsed without bounds
			WithCompilationCache(cache)
	}
	defer func() {
		if p := recover(); p != nil {
			log.Warn("no compiler for this processor or system: guests are interpreted and run ten times slower", "reason", fmt.Sprint(p))
			w = wazero.NewRuntimeWithConfig(ctx, configure(wazero.NewRuntimeConfigInterpreter()))
		}
	}()
	return wazero.NewRuntimeWithConfig(ctx, configure(wazero.NewRuntimeConfigCompiler()))
}
