package spin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// function is one import that is offered.
type function struct {
	module, name string
	params       string // one letter per core parameter: i is i32, I is i64
	body         func(*guest, stack)
	label        string
	waits        bool // for a server, most of its time
}

// functions of every generation, in the order of their files.
func functions() []function {
	return slices.Concat(redisFunctions(), redisV1Functions("outbound-redis"), redisV1Functions("fermyon:spin/redis"),
		variableFunctions(), keyValueFunctions(), keyValueV1Functions("key-value"), keyValueV1Functions("fermyon:spin/key-value"),
		wasiKeyValueFunctions(), httpFunctions())
}

// Define instantiates every offered host module in r, once per Runtime. The same instances serve every guest of r: what a guest may
// reach is in the Call of its ctx.
func Define(ctx context.Context, r wazero.Runtime) error {
	builders := make(map[string]wazero.HostModuleBuilder)
	for _, f := range functions() {
		b := builders[f.module]
		if b == nil {
			b = r.NewHostModuleBuilder(f.module)
			builders[f.module] = b
		}
		f.label = f.module + "#" + f.name
		f.waits = !strings.Contains(f.module, "config") && !strings.Contains(f.module, "variables") && !strings.HasPrefix(f.name, "[resource-drop]")
		b.NewFunctionBuilder().WithGoModuleFunction(&f, valueTypes(f.params), nil).Export(f.name)
	}
	for name, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("define %s: %w", name, err)
		}
	}
	return nil
}

// Offered lists the import modules that Define offers, sorted.
func Offered() []string {
	var names []string
	for _, f := range functions() {
		names = append(names, f.module)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func valueTypes(params string) []api.ValueType {
	types := make([]api.ValueType, len(params))
	for i, p := range params {
		types[i] = api.ValueTypeI32
		if p == 'I' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

// Call implements api.GoModuleFunction.
func (f *function) Call(ctx context.Context, m api.Module, params []uint64) {
	c := find(ctx)
	if c == nil {
		panic(&Trap{Func: f.label, Why: "called outside an invocation"})
	}
	g := c.enter(ctx, m, f.label)
	if f.waits && c.wait != nil {
		c.wait(true)
		defer c.wait(false) // also when the guest is unwound: its turn is given up elsewhere
	}
	f.body(g, params)
	c.leave()
}
