package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// How long an instance keeps its state with Binding.Reuse, where the Binding says nothing. A guest that leaks ends there.
const (
	DefaultReuseMessages = 10_000
	DefaultReuseFor      = 10 * time.Minute
)

// DefaultOutput is how many bytes of each output stream an invocation may print where its Binding says nothing: 1 MiB.
const DefaultOutput int64 = 1 << 20

// Binding is what one tenant's component may do, and within which limits.
type Binding struct {
	Host          *spin.Host        // the way out, variables and stores; nil means none of them
	Env           map[string]string // environment variables
	Owner         string            // whose it is: what a start draws by chance is shared with components of the same owner alone; "" shares it with none
	Files         fs.FS             // mounted read-only at "/"; nil means no files
	Memory        uint64            // bytes of linear memory; 0 means tenants.DefaultMemory
	Timeout       time.Duration     // of one invocation, starting included; 0 means tenants.DefaultTimeout
	Fuel          uint64            // units of one invocation, about one for each instruction; 0 means as many as fit into Timeout
	Budget        *Budget           // of the tenant, shared by all of its components; nil has no bound
	Output        int64             // bytes per stream and invocation, what is beyond is cut and counted; 0 means DefaultOutput
	Warm          int               // instances that Check makes ahead of messages and that stay when nothing comes; default none: a first message after a quiet minute makes one from the snapshot
	Reuse         bool              // keep what the guest left behind for its next message, instead of a clean instance for each
	ReuseMessages int               // that one instance handles with Reuse, then it is closed; 0 means DefaultReuseMessages
	ReuseFor      time.Duration     // that one instance is used with Reuse, then it is closed; 0 means DefaultReuseFor
	LogRate       int               // lines in a second, over all invocations; what is beyond is cut and counted; 0 means DefaultLogRate
	Lines         func(Line)        // gets each line of output on the invoking goroutine, from several invocations at once; nil drops them
}

// Component is a Program bound to what one tenant's component may do. It is safe for concurrent use; the Program must stay open as long as
// it is used.
type Component struct {
	program *Program
	binding Binding
	lines   *lines
	config  wazero.ModuleConfig // all but the streams, which belong to an instance
	env     [sha256.Size]byte

	snapshot atomic.Pointer[snapshot] // set once, by the first instance that has started or found one to share
	pool     pool
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
	if b.LogRate == 0 {
		b.LogRate = DefaultLogRate
	}
	if b.ReuseMessages == 0 {
		b.ReuseMessages = DefaultReuseMessages
	}
	if b.ReuseFor == 0 {
		b.ReuseFor = DefaultReuseFor
	}
	if b.Output == 0 {
		b.Output = DefaultOutput
	}
	c := &Component{program: p, binding: b, lines: newLines(b.Lines, b.LogRate), config: moduleConfig(b), env: digestEnv(b.Env)}
	p.runtime.register(c)
	return c
}

// moduleConfig replaces wazero's defaults where they are fakes: clocks and randomness. Names stay empty so that instances do not collide,
// and start functions are the instance's to call.
func moduleConfig(b Binding) wazero.ModuleConfig {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithSysWalltime().WithNanotime(monotonic, sys.ClockResolution(1)).
		WithRandSource(random)
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		config = config.WithEnv(name, b.Env[name])
	}
	if b.Files != nil {
		config = config.WithFSConfig(wazero.NewFSConfig().WithFSMount(b.Files, "/"))
	}
	return config
}

// random is what guests draw from.
var random = copied{rand.Reader}

// copied reads for guests. Their memory is written by copying, never by a system call, whose faults are not counted as the guest's.
type copied struct{ from io.Reader }

func (c copied) Read(into []byte) (int, error) {
	var chunk [512]byte
	n, err := io.ReadFull(c.from, chunk[:min(len(into), len(chunk))])
	return copy(into, chunk[:n]), err
}

// Call is one message for a component.
type Call struct {
	Payload    []byte
	Attributes spin.Attributes // what the guest may ask about its message; nil means nothing
	Began      time.Time       // the present, where the caller has just asked for it; the zero time asks again
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
	Fuel          uint64          // units used
	Instance      telemetry.Instance
	Started       time.Duration  // until a new instance was there
	Calls         []spin.Outcall // out of the sandbox, the first of them; valid until the next message
	Called        spin.Totals    // all of them
}

// Invoke runs the component on one message, in an instance that no message has touched. It returns when the guest has ended, at the latest
// with its timeout or with ctx.
func (c *Component) Invoke(ctx context.Context, call Call) Result {
	s := c.Open()
	defer s.Close()
	return *s.Invoke(ctx, call)
}

// Check starts the component once without a message: what would fail every message (a start function or _initialize that traps, a memory
// cap below the module's need, an environment that cannot be passed on) fails here. It leaves Binding.Warm instances for the first messages.
// The error is a *Failure.
func (c *Component) Check(ctx context.Context) error {
	s := c.Open()
	err := s.use(ctx, Call{}, func(*instance) error { return nil }).Err
	if s.Close(); err != nil {
		return err
	}
	return c.warm(ctx)
}

// Isolation tells what a message of the component finds, and why it is not what the Binding asked for; "" where it is.
func (c *Component) Isolation() (is tenants.Isolation, why string) {
	switch p := c.program; {
	case c.binding.Files != nil && p.assembly == nil:
		return tenants.Fresh, "it has files, and a guest may leave descriptors open or closed that nobody can put back"
	case c.binding.Reuse:
		return tenants.Reuse, ""
	case !p.resettable:
		return tenants.Fresh, p.why
	}
	return tenants.Reset, ""
}

// Close closes the instances that wait. It is called when nothing invokes the component any more.
func (c *Component) Close() {
	c.program.runtime.forget(c)
	for _, i := range c.pool.close() {
		c.program.runtime.idleBytes.Add(-i.cost)
		i.close()
	}
	c.lines.close()
	if s := c.snapshot.Swap(nil); s != nil {
		c.program.release(s)
	}
}

// take gets an instance that waits, or makes one.
func (c *Component) take() *instance {
	i := c.pool.get()
	if i == nil {
		return c.newInstance()
	}
	c.program.runtime.idleBytes.Add(-i.cost)
	return i
}

// clean makes an instance what the next message may find, or answers false where that cannot be.
func (c *Component) clean(i *instance) bool {
	if c.binding.Files != nil && c.program.assembly == nil {
		return false // a guest may have closed or moved descriptors, which nobody can put back
	}
	if c.binding.Reuse {
		i.messages++
		return i.messages < c.binding.ReuseMessages && i.used.Sub(i.born) < c.binding.ReuseFor
	}
	if i.snapshot == nil {
		return false
	}
	if err := i.reset(i.snapshot); err != nil {
		if err != errFull {
			c.program.runtime.log.Error("an instance could not be reset and is closed", "digest", c.program.Digest(), "error", err)
		}
		return false
	}
	return true
}

// keep puts a clean instance where the next session finds it, or closes it where there is no room.
func (c *Component) keep(i *instance) {
	r := c.program.runtime
	if !r.room() {
		i.close()
		return
	}
	i.cost = c.program.idleCost() + i.private()
	if c.binding.Reuse && i.linked {
		i.cost = c.program.idleCost() + int64(i.quota.used)
	}
	cost := i.cost
	r.idleBytes.Add(cost) // before put: from then on the instance is somebody else's
	if !c.pool.put(i) {
		r.idleBytes.Add(-cost)
		i.close()
	}
}

// What an instance that waits takes beside the pages that it has written, in bytes: a module and call engines, and of a component each further core
// instance.
const (
	moduleCost     = 64 << 10
	furtherModules = 16 << 10
)

func (p *Program) idleCost() int64 {
	if p.assembly == nil {
		return moduleCost
	}
	return moduleCost + furtherModules*int64(len(p.assembly.plan.Instances))
}

// keepSnapshot takes the snapshot of the first instance that has started. One that comes second is not equal to it, because a start may read
// clocks and random numbers, so it handles its message and is closed.
func (c *Component) keepSnapshot(i *instance) error {
	if !c.program.resettable || c.snapshot.Load() != nil {
		return nil
	}
	s, err := i.take()
	if err != nil {
		return err
	}
	if !c.snapshot.CompareAndSwap(nil, s) {
		c.program.release(s)
		return nil
	}
	if key, ok := i.sharedAs(); ok {
		c.program.offer(s, key)
	}
	i.snapshot = s
	return i.cover(s)
}

// ready is the component's snapshot: its own, or one that it may share; nil before there is one.
func (c *Component) ready() *snapshot {
	if s := c.snapshot.Load(); s != nil {
		return s
	}
	s := c.share()
	if s != nil && !c.snapshot.CompareAndSwap(nil, s) {
		c.program.release(s)
		return c.snapshot.Load()
	}
	return s
}

// run is the guest's boundary: whatever goes wrong beyond comes back as an error. It has one return: beside several the compiler would no longer
// write the deferred calls out in line, and each message would pay for that.
func (i *instance) run(use func(*instance) error) (err error) {
	i.watch()
	defer func() {
		if p := recover(); p != nil {
			err = recovered(p)
		}
		if i.quota.err != nil {
			err = &Failure{Kind: OutOfMemory, Text: "the host has no memory left for the guest"}
		}
	}()
	defer i.finish()
	defer func() { i.late = err != nil && i.invocation.overdue() }()
	err = i.live(use)
	return err
}

// live is what lies beyond the boundary: the start, where there was none yet, and the message.
func (i *instance) live(use func(*instance) error) error {
	if err := i.invocation.parent.Err(); err != nil {
		return err
	}
	if i.starved > 0 && i.invocation.overdue() {
		i.stage = handling // it is not the start that took long
		return errInterrupted
	}
	if !i.linked {
		err := i.start()
		if i.started = time.Since(i.used); err != nil {
			return err
		}
	}
	err := use(i)
	if (err == nil || errors.Is(err, errAnswer)) && i.overspent() {
		return errFuel
	}
	if errors.Is(err, errAnswer) && i.invocation.Err() == nil {
		return &Failure{Kind: HandlerError, Text: err.Error() + i.shortOfMemory() + i.shortOfHandles()}
	}
	return err
}
