package abi

// The host keeps the module as its init functions leave it, and every message finds it like that. So what Go's allocator does once for each
// size of object, which is most of what a small handler would take, is done here: it asks the heap for a span of each size that handlers
// commonly allocate, with pointers and without, and for the first slots of held.
//
// It costs 8 KiB of memory for each size and kind. Larger objects, and what other packages keep for reuse (a handler that prints finds fmt's
// pool empty), are warmed by whoever uses them in an init function.
const largestWarm = 512 // bytes

var (
	warmBytes    []byte
	warmPointers []*byte
)

func init() {
	for size := 8; size <= largestWarm; size += 8 {
		warmBytes = make([]byte, size)
		warmPointers = make([]*byte, size/8)
	}
	warmBytes, warmPointers = nil, nil
	held[0] = nil
	delete(held, 0)
}
