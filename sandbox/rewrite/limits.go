package rewrite

import "cmp"

// Limits are the bounds that a module is held against before anything is allocated or compiled for it. wazero allocates vectors by their
// declared count and compiles functions in time that grows faster than their size, so a module of twenty bytes can take gigabytes and one of
// sixty kilobytes minutes. A field of 0 means its default; the defaults leave room for what compilers emit: the largest functions of Go, Rust
// and of the JavaScript engines.
type Limits struct {
	Types         uint64 // 100,000
	Params        uint64 // parameters, and results, of one function type: 128, which is also the most
	Imports       uint64 // 10,000
	Functions     uint64 // 100,000
	Tables        uint64 // 16
	TableEntries  uint64 // at start, of each table: 1 Mi entries of 8 bytes, which lie outside of every memory cap
	TableHeadroom uint64 // entries that table.grow may add to a table: 65,536; maxima are written down to that
	Globals       uint64 // 100,000
	Exports       uint64 // 100,000
	Elements      uint64 // entries of all element segments together: 1 Mi
	Segments      uint64 // element segments, and data segments: 100,000
	MemoryPages   uint64 // of 64 KiB, at start and as far as memory.grow may go: 65,536 (4 GiB), which is also the most
	Body          uint64 // bytes of one function: 1 MiB
	Locals        uint64 // of one function, beside its parameters: 10,000
	Nesting       uint64 // levels of blocks in one function: 1,024
	Blocks        uint64 // of one function, as they are after metering: 8,192. A loop counts 4, a bulk instruction 1
	BranchTable   uint64 // labels of one br_table: 8,192
	LocalBlocks   uint64 // blocks times locals of one function: 1 Mi
	Names         uint64 // entries of the name section: 1 Mi
	Region        uint64 // units between two looks at the fuel: 4 Mi
	Growth        uint64 // bytes of output for each byte of input, beside 64 KiB: 4
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Types:         cmp.Or(l.Types, 100_000),
		Params:        min(cmp.Or(l.Params, maxParams), maxParams),
		Imports:       cmp.Or(l.Imports, 10_000),
		Functions:     cmp.Or(l.Functions, 100_000),
		Tables:        cmp.Or(l.Tables, 16),
		TableEntries:  cmp.Or(l.TableEntries, 1<<20),
		TableHeadroom: cmp.Or(l.TableHeadroom, 1<<16),
		Globals:       cmp.Or(l.Globals, 100_000),
		Exports:       cmp.Or(l.Exports, 100_000),
		Elements:      cmp.Or(l.Elements, 1<<20),
		Segments:      cmp.Or(l.Segments, 100_000),
		MemoryPages:   min(cmp.Or(l.MemoryPages, maxPages), maxPages),
		Body:          cmp.Or(l.Body, 1<<20),
		Locals:        cmp.Or(l.Locals, 10_000),
		Nesting:       cmp.Or(l.Nesting, 1024),
		Blocks:        cmp.Or(l.Blocks, 8192),
		BranchTable:   cmp.Or(l.BranchTable, 8192),
		LocalBlocks:   cmp.Or(l.LocalBlocks, 1<<20),
		Names:         cmp.Or(l.Names, 1<<20),
		Region:        cmp.Or(l.Region, 4<<20),
		Growth:        cmp.Or(l.Growth, 4),
	}
}

const (
	maxParams = 128    // a type's counts are kept in a byte
	maxPages  = 65_536 // what 32-bit addresses reach
)
