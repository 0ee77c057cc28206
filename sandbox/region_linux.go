//go:build !portable

package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is address space of a fixed length; the kernel gives zeroed pages as they are touched and takes them back at once on release.
type region struct {
	base   unsafe.Pointer
	length uintptr
}

func (r *region) reserve(length uint64) error {
	if length == 0 {
		return nil
	}
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("reserve %d bytes: %w", length, err)
	}
	r.base, r.length = base, uintptr(length)
	return nil
}

// prefix gives the first size bytes, nil where the region is shorter.
func (r *region) prefix(size uint64) []byte {
	if r.base == nil || size > uint64(r.length) {
		return nil
	}
	return unsafe.Slice((*byte)(r.base), size)
}

func (r *region) release() {
	if r.base == nil {
		return
	}
	if err := unix.MunmapPtr(r.base, r.length); err != nil {
		panic(fmt.Errorf("unmap a guest's memory: %w", err)) // only a wrong address or length can cause it
	}
	*r = region{}
}
