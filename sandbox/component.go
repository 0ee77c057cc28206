package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants"
)

// DefaultOutput is how many bytes of each output stream an invocation may print where its Binding says nothing: 1 MiB.
const DefaultOutput int64 = 1 << 20

// Binding is what one tenant's component may do, and within which limits.
type Binding struct {
	Host    *spin.Host        // the way out, variables and stores; nil means none of them
	Env     map[string]string // environment variables
	Files   fs.FS             // mounted read-only at "/"; nil means no files
	Memory  uint64            // bytes of linear memory; 0 means tenants.DefaultMemory
	Timeout time.Duration     // of one invocation, starting included; 0 means tenants.DefaultTimeout
	Output  int64             // bytes per stream and invocation, what is beyond is cut and counted; 0 means DefaultOutput
	Lines   func(Line)        // gets each line of output on the invoking goroutine, from several invocations at once; nil drops them
}

// Component is a Program bound to what one tenant's component may do. It is immutable and safe for concurrent use; the Program must stay
// open as long as it is used.
type Component struct {
	program *Program
	binding Binding
	config  wazero.ModuleConfig // all but the streams, which belong to an instance
}

// Bind makes a Component. What only a start of the guest can tell (an environment that cannot be passed on, a memory cap below what the
// module needs) is for Check to find.
func (p *Program) Bind(b Binding) *Component {
	if b.Host == nil {
		b.Host = &spin.Host{}
	}
	if b.Memory == 0 {
		b.Memory = tenants.DefaultMemory
	}
	if b.Timeout == 0 {
		b.Timeout = tenants.DefaultTimeout
	}
	if b.Output == 0 {
		b.Output = DefaultOutput
	}
	return &Component{program: p, binding: b, config: moduleConfig(b)}
}

// moduleConfig replaces wazero's defaults where they are fakes: clocks and randomness. Names stay empty so that instances do not collide,
// and start functions are the instance's to call.
func moduleConfig(b Binding) wazero.ModuleConfig {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithSysWalltime().WithNanotime(monotonic, sys.ClockResolution(1)).
		WithRandSource(rand.Reader)
	names := make([]string, 0, len(b.Env))
	for name := range b.Env {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		config = config.WithEnv(name, b.Env[name])
	}
	if b.Files != nil {
		config = config.WithFSConfig(wazero.NewFSConfig().WithFSMount(b.Files, "/"))
	}
	return config
}

// Call is one message for a component.
type Call struct {
	Payload    []byte
	Attributes spin.Attributes // what the guest may ask about its message; nil means nothing
	KeepOutput int             // bytes of stdout and stderr to return, from the beginning and in the order of writing; 0 returns none
}

// Result is how an invocation ended.
type Result struct {
	Outcome       tenants.Outcome // Handled, Failed or TimedOut
	Err           error           // nil where handled, else a *Failure
	LegacySuccess bool            // handled, but answered as 01 00 ("error: success") in the manner of the Go SDK up to 2
	Output        []byte          // what Call.KeepOutput asked for
	Truncated     int64           // bytes of output lost to Binding.Output
	Memory        uint64          // bytes of linear memory, at its largest
}

// Invoke runs the component on one message, in an instance of its own, and closes everything that the instance had. It returns when the guest
// has ended, at the latest with its timeout or with ctx.
func (c *Component) Invoke(ctx context.Context, call Call) Result {
	var legacy bool
	r := c.run(ctx, call, func(ctx context.Context, i *instance) (err error) {
		legacy, err = i.handle(ctx, call.Payload)
		return err
	})
	r.LegacySuccess = legacy && r.Err == nil
	return r
}

// Check starts the component once without a message: what would fail every message (a start function or _initialize that traps, a memory
// cap below the module's need, an environment that cannot be passed on) fails here. The error is a *Failure.
func (c *Component) Check(ctx context.Context) error {
	return c.run(ctx, Call{}, func(context.Context, *instance) error { return nil }).Err
}

func (c *Component) run(ctx context.Context, call Call, use func(context.Context, *instance) error) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, c.binding.Timeout, errTimeout)
	defer cancel()
	i := c.newInstance(call)
	err := i.run(spin.With(ctx, i.call), use)
	r := Result{Output: i.kept.bytes, Truncated: i.stdout.truncated + i.stderr.truncated, Memory: i.memory.peak}
	if err != nil {
		f := c.failure(ctx, i, err)
		r.Outcome, r.Err = f.outcome(), f
	}
	return r
}

// run is the guest's boundary: whatever goes wrong beyond comes back as an error, and the instance is closed.
func (i *instance) run(ctx context.Context, use func(context.Context, *instance) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = recovered(p)
		}
		if i.memory.err != nil {
			err = &Failure{Kind: OutOfMemory, Text: "the host has no memory left for the guest"}
		}
	}()
	defer i.close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := i.start(ctx); err != nil {
		return err
	}
	err = use(ctx, i)
	if errors.Is(err, errAnswer) && ctx.Err() == nil {
		return &Failure{Kind: HandlerError, Text: err.Error() + i.shortOfMemory()}
	}
	return err
}
