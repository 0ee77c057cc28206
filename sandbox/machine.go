package sandbox

import (
	"context"

	"github.com/tetratelabs/wazero"
)

// Compiles tells whether guests run as machine code on this processor and system; elsewhere they are interpreted, about ten times slower.
// wazero has no question for it: asking for its compiler panics where there is none.
func Compiles() (yes bool) {
	defer func() { yes = recover() == nil }()
	ctx := context.Background()
	wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler()).Close(ctx)
	return true
}

// MappingsPerInstance is how many mappings of memory an instance takes at most: its snapshot, what it may grow into, and what lies between them
// when a part of it was given back.
const MappingsPerInstance = 3
