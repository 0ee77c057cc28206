package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
	"github.com/tenloom/tenloom/telemetry"
)

// stage tells what a guest is at, for the words of a failure.
type stage uint8

const (
	linking    stage = iota // instantiate: elements, imports
	starting                // data, the start function, _initialize
	allocating              // making room for the payload
	handling                // the handler, and what it calls
	returning               // the post-return function
)

// instance is a live guest: its memory, what the host holds for it, and its module. One goroutine uses it at a time, for one message; between
// messages it lies in its component's pool, equal to the snapshot.
type instance struct {
	component      *Component
	snapshot       *snapshot // it was made from this one, or gave it; nil where it cannot be reset
	stage          stage
	quota          quota
	memories       []*memory // in the order in which their modules are instantiated
	call           *spin.Call
	beginning      beginning
	kept           kept
	stdout, stderr printer

	linked        bool
	module        api.Module // of a core module; nil until it is linked
	handler, post api.Function
	parts         *parts               // of a component; nil until it is linked
	globals       []api.MutableGlobal  // of all modules
	fuels         []api.MutableGlobal  // one for each module
	one           [1]api.MutableGlobal // room for it where there is one
	stack         [2]uint64

	invocation *invocation
	ctx        context.Context // what the guest is called with: invocation and call
	session    *Session        // that uses it; nil in the pool
	started    time.Duration   // that its start took, in the invocation that made it
	given      int64           // units of fuel in this invocation
	yielded    int64           // units that a component had used when others last had their turn

	born     time.Time     // when it was made
	messages int           // that it has handled, where it keeps their state
	slices   int           // used up, over all messages
	late     bool          // the deadline had passed when the guest failed
	starved  time.Duration // that this invocation waited for its tenant's Budget
	used     time.Time     // when it was last asked for
	cost     int64         // bytes that it counts for there
}

func (c *Component) newInstance() *instance {
	b := &c.binding
	i := &instance{component: c, born: time.Now(), quota: quota{cap: b.Memory}}
	i.fuels = i.one[:0]
	i.stdout = printer{stream: telemetry.Stdout, lines: c.lines.pass, kept: &i.kept}
	i.stderr = printer{stream: telemetry.Stderr, lines: c.lines.pass, kept: &i.kept}
	i.call = spin.NewCall(b.Host, nil)
	i.call.OnWait(i.wait)
	return i
}

// begin makes the instance ready for one message, or for its start.
func (i *instance) begin(ctx context.Context, call Call) {
	b := &i.component.binding
	if i.invocation == nil {
		i.invocation = &invocation{instance: i}
		i.ctx = spin.With(i.invocation, i.call)
		if i.component.program.assembly != nil {
			i.ctx = wasi.With(i.ctx, i.newSystem())
		}
	}
	if i.used = call.Began; i.used.IsZero() {
		i.used = time.Now()
	}
	i.invocation.begin(ctx, i.used, b.Timeout)
	i.call.Begin(call.Attributes)
	i.kept = kept{most: call.KeepOutput}
	i.stdout.begin(b.Output, call.Attributes)
	i.stderr.begin(b.Output, call.Attributes)
	i.stage, i.starved = linking, 0
	if i.linked {
		i.quota.begin()
		i.arm()
	}
}

// newSystem is what a component finds of an operating system. What it draws before its first message is noted, for components that start alike.
func (i *instance) newSystem() *wasi.System {
	b := &i.component.binding
	i.beginning.instance = i
	s := &wasi.System{Stdout: &i.stdout, Stderr: &i.stderr, Files: b.Files, Random: &i.beginning, Call: i.call}
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		s.Env = append(s.Env, [2]string{name, b.Env[name]})
	}
	return s
}

// start makes the instance what every message finds: from the snapshot where there is one, otherwise by running what the module runs at start.
func (i *instance) start() error {
	c := i.component
	s := c.ready()
	if need := c.program.memory; need > i.quota.cap {
		return &Failure{Kind: OutOfMemory, Text: fmt.Sprintf("the module needs %s of memory to start, its cap is %s; %s", bytesText(need), bytesText(i.quota.cap), memoryKnob)}
	}
	link := i.link
	if c.program.assembly != nil {
		link = func() error { return i.assemble(s == nil) }
	}
	if err := link(); err != nil {
		return err
	}
	i.linked = true
	if s != nil {
		i.arm()
		i.snapshot = s
		return i.become(s)
	}
	if c.program.assembly == nil {
		i.arm()
		if err := i.boot(); err != nil {
			return err
		}
	}
	if c.program.resettable { // other messages do not pay for the start either
		i.arm()
	}
	return c.keepSnapshot(i)
}

// link instantiates the module. Nothing of the guest runs: the rewriter has put data and the start function into a function of their own.
func (i *instance) link() (err error) {
	c := i.component
	config := c.config.WithStdout(&i.stdout).WithStderr(&i.stderr)
	if c.snapshot.Load() == nil {
		i.beginning.instance = i
		config = config.WithRandSource(&i.beginning)
	}
	w, code := c.program.runtime.wazero, c.program.cores[0]
	compiled := code.compiled
	if c.binding.Files != nil {
		w = c.program.runtime.filed
		if compiled, err = c.program.filed(); err != nil {
			return err
		}
	}
	if i.module, err = i.instantiate(i.ctx, w, compiled, config); err != nil {
		return err
	}
	i.handler = i.module.ExportedFunction(c.program.abi.handler)
	if c.program.post != "" {
		i.post = i.module.ExportedFunction(c.program.post)
	}
	return i.findGlobals(i.module, &code.report)
}

// instantiate makes a module with memory of the instance's.
func (i *instance) instantiate(ctx context.Context, w wazero.Runtime, compiled wazero.CompiledModule, config wazero.ModuleConfig) (api.Module, error) {
	known := len(i.memories)
	module, err := w.InstantiateModule(experimental.WithMemoryAllocator(ctx, (*allocator)(i)), compiled, config)
	if err == nil && len(i.memories) > known {
		i.memories[known].of = module.Memory()
	}
	return module, err
}

// allocator adds a memory to an instance for each module that defines one.
type allocator instance

// Allocate implements experimental.MemoryAllocator.
func (a *allocator) Allocate(least, most uint64) experimental.LinearMemory {
	m := &memory{quota: &a.quota, restorer: restorer{how: a.component.program.runtime.reset}}
	a.memories = append(a.memories, m)
	return m.Allocate(least, most)
}

// boot runs what the module runs at start: its data, its start function, _initialize.
func (i *instance) boot() error {
	p := i.component.program
	if name := p.cores[0].report.Init; name != "" {
		if err := i.module.ExportedFunction(name).CallWithStack(i.ctx, nil); err != nil {
			return err
		}
	}
	if i.stage = starting; p.starts == "" {
		return nil
	}
	return i.module.ExportedFunction(p.starts).CallWithStack(i.ctx, nil)
}

// errAnswer is a handler's answer that is not ok.
var errAnswer = errors.New("handler returned an error")

// how tells what a message found, and how long it waited for it.
func (i *instance) how() (telemetry.Instance, time.Duration) {
	switch started := i.started; {
	case started > 0:
		i.started = 0
		return telemetry.Cold, started
	case i.component.binding.Reuse:
		return telemetry.Warm, 0
	}
	return telemetry.Reset, 0
}

// handle gives the guest one message. The result is two bytes wherever the guest points: 00 is ok; 01 is an error whose code is the second
// byte, where 01 00, "error: success", is what the Go SDK up to 2 answers when all went well.
func (i *instance) handle(payload []byte) (legacy bool, err error) {
	if i.parts != nil {
		i.stage = handling
		return i.parts.handle(i.ctx, payload)
	}
	ptr, err := i.lower(payload)
	if err != nil {
		return false, err
	}
	i.stage = handling
	abi := i.component.program.abi
	i.stack = [2]uint64{uint64(ptr), uint64(len(payload))}
	if err := i.handler.CallWithStack(i.ctx, i.stack[:]); err != nil {
		return false, err
	}
	result := uint32(i.stack[0])
	answer, ok := i.module.Memory().Read(result, 2)
	if !ok {
		return false, &Failure{Kind: Trapped, Text: fmt.Sprintf("%s answered with the pointer 0x%08x, outside of its %d bytes of memory", abi.handler, result, i.module.Memory().Size())}
	}
	tag, code := answer[0], answer[1]
	if i.post != nil {
		i.stage = returning
		i.stack[0] = uint64(result)
		if err := i.post.CallWithStack(i.ctx, i.stack[:1]); err != nil {
			return false, err
		}
	}
	switch {
	case tag == 0:
		return false, nil
	case tag == 1 && code == 0:
		return true, nil
	case tag == 1:
		return false, errAnswer
	}
	return false, fmt.Errorf("%w that its interface does not have (%02x %02x)", errAnswer, tag, code)
}

// lower copies the payload into the guest. An empty one needs no room.
func (i *instance) lower(payload []byte) (uint32, error) {
	if len(payload) == 0 {
		return 1, nil
	}
	if len(payload) > math.MaxUint32 {
		return 0, fmt.Errorf("payload of %d bytes: more than 32-bit memory holds", len(payload))
	}
	i.stage = allocating
	ptr, err := spin.Alloc(i.ctx, i.call, i.module, 1, uint32(len(payload)))
	if err != nil {
		return 0, err
	}
	if !i.module.Memory().Write(ptr, payload) {
		return 0, &spin.Trap{Func: i.component.program.abi.allocator, Why: "returned memory that is not there"}
	}
	return ptr, nil
}

// wait is told before the host waits for something on the guest's behalf, and after. Meanwhile others have the turn and the thread.
func (i *instance) wait(begins bool) {
	if begins {
		i.session.pause()
		return
	}
	i.session.resume()
}

// finish ends what belongs to the message: its last lines, what the guest left open, its clock.
func (i *instance) finish() {
	i.stdout.flush()
	i.stderr.flush()
	i.stdout.of, i.stderr.of = nil, nil // they are the caller's
	if i.parts != nil && !i.component.binding.Reuse {
		i.parts.store.Reset()
	}
	i.call.Close()
	if !i.invocation.end() {
		i.invocation = nil // somebody may still look at it
	}
}

// close ends the guest and gives back all that it had. The memory goes last: nothing may point there any more.
func (i *instance) close() {
	defer func() {
		for _, m := range i.memories {
			m.release()
		}
	}()
	if i.parts != nil {
		i.parts.close()
	}
	if i.module != nil {
		i.module.Close(context.Background()) // closing files that were only read cannot fail in a way that matters
	}
}

const memoryKnob = "more goes into memory = \"...\" in [component.<id>.tool.tenloom]"

// hungry names the memory cap as the cause where growth was refused before the guest ended.
func (i *instance) hungry(f *Failure) *Failure {
	if i.quota.refused == 0 {
		return f
	}
	return &Failure{Kind: OutOfMemory, Code: f.Code, Text: bounded("out of memory" + i.shortOfMemory() + "\n" + f.Text)}
}

// shortOfMemory says that growth was refused, and where to allow it; nothing where it was not.
func (i *instance) shortOfMemory() string {
	if i.quota.refused == 0 {
		return ""
	}
	return fmt.Sprintf(": it asked for %s, its cap is %s; %s", bytesText(i.quota.refused), bytesText(i.quota.cap), memoryKnob)
}

// shortOfHandles says that the guest was refused a handle, and where to allow it; nothing where it was not.
func (i *instance) shortOfHandles() string {
	refused := i.call.Refused()
	if refused.Most == 0 {
		return ""
	}
	return fmt.Sprintf(": it was refused a %s handle because it held %d, as many as it may; more go into handles = ... in [component.<id>.tool.tenloom]", refused.What, refused.Most)
}

// exceeded is the end of a guest that did more through the host than it may.
func (i *instance) exceeded(e *spin.Exceeded, at string) *Failure {
	const in = " in [component.<id>.tool.tenloom]"
	switch e.Bound {
	case spin.HostCalls:
		return &Failure{Kind: TooManyCalls, Text: fmt.Sprintf("made more than %d host calls, the last of %s%s; more go into host_calls = ..."+in, e.Limit, e.Func, at)}
	case spin.BytesOut:
		return &Failure{Kind: TooMuchSent, Text: fmt.Sprintf("sent more than %s through its host calls, the last of %s%s; more goes into bytes_out = \"...\""+in, bytesText(uint64(e.Limit)), e.Func, at)}
	}
	return &Failure{Kind: TooMuchReceived, Text: fmt.Sprintf("received more than %s through its host calls, the last of %s%s; more goes into bytes_in = \"...\""+in, bytesText(uint64(e.Limit)), e.Func, at)}
}

// kind is what a trap counts as.
func (i *instance) kind() FailureKind {
	if i.stage <= starting {
		return NotStarted
	}
	return Trapped
}

// while says what the guest was at where that is not its handler.
func (i *instance) while() string {
	switch i.stage {
	case linking:
		return " while it was instantiated"
	case starting:
		if i.component.program.assembly != nil {
			return " while it started"
		}
		return " in _initialize"
	case allocating:
		return " in " + i.component.program.abi.allocator
	case returning:
		return " in " + i.component.program.post
	}
	return ""
}
