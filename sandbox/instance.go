package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/spin"
)

// stage tells what a guest is at, for the words of a failure.
type stage uint8

const (
	linking    stage = iota // instantiate: data, elements, the start function
	starting                // _initialize
	allocating              // making room for the payload
	handling                // the handler, and what it calls
	returning               // the post-return function
)

// instance is a live guest: its memory, what the host holds for it, and its module. One goroutine uses it, for one message, and closes it.
type instance struct {
	component      *Component
	stage          stage
	memory         memory
	call           *spin.Call
	kept           kept
	stdout, stderr printer
	module         api.Module // nil until it is instantiated
}

func (c *Component) newInstance(call Call) *instance {
	b := &c.binding
	i := &instance{component: c, memory: memory{cap: b.Memory}, kept: kept{most: call.KeepOutput}}
	i.stdout = printer{stream: Stdout, left: b.Output, lines: b.Lines, kept: &i.kept}
	i.stderr = printer{stream: Stderr, left: b.Output, lines: b.Lines, kept: &i.kept}
	i.call = spin.NewCall(b.Host, call.Attributes)
	return i
}

// start instantiates the module and runs what it runs at start.
func (i *instance) start(ctx context.Context) error {
	c := i.component
	if need := c.program.memory; need > i.memory.cap {
		return &Failure{Kind: OutOfMemory, Text: fmt.Sprintf("the module needs %s of memory to start, its cap is %s; %s", bytesText(need), bytesText(i.memory.cap), memoryKnob)}
	}
	config := c.config.WithStdout(&i.stdout).WithStderr(&i.stderr)
	var err error
	i.module, err = c.program.runtime.wazero.InstantiateModule(experimental.WithMemoryAllocator(ctx, &i.memory), c.program.compiled, config)
	if err != nil || !c.program.starts {
		return err
	}
	i.stage = starting
	_, err = i.module.ExportedFunction(initialize).Call(ctx)
	return err
}

// errAnswer is a handler's answer that is not ok.
var errAnswer = errors.New("handler returned an error")

// handle gives the guest one message. The result is two bytes wherever the guest points: 00 is ok; 01 is an error whose code is the second
// byte, where 01 00, "error: success", is what the Go SDK up to 2 answers when all went well.
func (i *instance) handle(ctx context.Context, payload []byte) (legacy bool, err error) {
	ptr, err := i.lower(ctx, payload)
	if err != nil {
		return false, err
	}
	i.stage = handling
	abi := i.component.program.abi
	stack := []uint64{uint64(ptr), uint64(len(payload))}
	if err := i.module.ExportedFunction(abi.handler).CallWithStack(ctx, stack); err != nil {
		return false, err
	}
	result := uint32(stack[0])
	answer, ok := i.module.Memory().Read(result, 2)
	if !ok {
		return false, &Failure{Kind: Trapped, Text: fmt.Sprintf("%s answered with the pointer 0x%08x, outside of its %d bytes of memory", abi.handler, result, i.module.Memory().Size())}
	}
	tag, code := answer[0], answer[1]
	if err := i.post(ctx, result); err != nil {
		return false, err
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
func (i *instance) lower(ctx context.Context, payload []byte) (uint32, error) {
	if len(payload) == 0 {
		return 1, nil
	}
	if len(payload) > math.MaxUint32 {
		return 0, fmt.Errorf("payload of %d bytes: more than 32-bit memory holds", len(payload))
	}
	i.stage = allocating
	ptr, err := spin.Alloc(ctx, i.call, i.module, 1, uint32(len(payload)))
	if err != nil {
		return 0, err
	}
	if !i.module.Memory().Write(ptr, payload) {
		return 0, &spin.Trap{Func: i.component.program.abi.allocator, Why: "returned memory that is not there"}
	}
	return ptr, nil
}

func (i *instance) post(ctx context.Context, result uint32) error {
	name := i.component.program.post
	if name == "" {
		return nil
	}
	i.stage = returning
	return i.module.ExportedFunction(name).CallWithStack(ctx, []uint64{uint64(result)})
}

// close ends the guest and gives back all that it had. The memory goes last: nothing may point there any more.
func (i *instance) close() {
	defer i.memory.release()
	defer i.call.Close()
	if i.module != nil {
		defer i.module.Close(context.Background()) // closing files that were only read cannot fail in a way that matters
	}
	i.stdout.flush()
	i.stderr.flush()
}

const memoryKnob = "more goes into memory = \"...\" in [component.<id>.tool.tenloom]"

// hungry names the memory cap as the cause where growth was refused before the guest ended.
func (i *instance) hungry(f *Failure) *Failure {
	if i.memory.refused == 0 {
		return f
	}
	return &Failure{Kind: OutOfMemory, Code: f.Code, Text: bounded("out of memory" + i.shortOfMemory() + "\n" + f.Text)}
}

// shortOfMemory says that growth was refused, and where to allow it; nothing where it was not.
func (i *instance) shortOfMemory() string {
	if i.memory.refused == 0 {
		return ""
	}
	return fmt.Sprintf(": it asked for %s, its cap is %s; %s", bytesText(i.memory.refused), bytesText(i.memory.cap), memoryKnob)
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
		return " in _initialize"
	case allocating:
		return " in " + i.component.program.abi.allocator
	case returning:
		return " in " + i.component.program.post
	}
	return ""
}
