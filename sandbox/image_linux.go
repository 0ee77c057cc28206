//go:build !portable

package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// image is a memory's content at the moment of the snapshot, in a part of a file of the kernel's memory. Every instance maps it privately
// over the beginning of its own memory: pages that a guest only reads are shared by all instances, and a page that it writes becomes a copy.
// Where instances are reset by copying it is in the Go heap instead, and needs no such file.
type image struct {
	at    int64  // in the file; -1 where it is in the Go heap
	bytes []byte // the part, mapped to be read; nil where the size is 0
}

// images is the one file of all images: a descriptor for each would use up the process's. An image is written once, before anybody maps it,
// at the file's end; a part that is given up is punched out and its place never used again. Nobody else has the descriptor, so nothing
// changes or shrinks under a guest.
var images struct {
	mu  sync.Mutex
	fd  int // 0 until the first image
	end int64
}

// extend reserves a part of the file.
func extend(size int64) (fd int, at int64, err error) {
	images.mu.Lock()
	defer images.mu.Unlock()
	if images.fd == 0 {
		if images.fd, err = unix.MemfdCreate("tenloom-snapshots", unix.MFD_CLOEXEC); err != nil {
			images.fd = 0
			return 0, 0, fmt.Errorf("make snapshot: %w", err)
		}
	}
	page := int64(os.Getpagesize())
	end := images.end + (size+page-1)/page*page
	if err := unix.Ftruncate(images.fd, end); err != nil {
		return 0, 0, fmt.Errorf("make snapshot: %w", err)
	}
	at, images.end = images.end, end
	return images.fd, at, nil
}

// newImage writes content to where the method wants it.
func newImage(content []byte, how ResetMethod) (*image, error) {
	if len(content) == 0 || how == ResetByCopy {
		return &image{at: -1, bytes: bytes.Clone(content)}, nil
	}
	fd, at, err := extend(int64(len(content)))
	if err != nil {
		return nil, err
	}
	i := &image{at: at}
	if err := i.write(fd, content); err != nil {
		return nil, err
	}
	if i.bytes, err = unix.Mmap(fd, at, len(content), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map snapshot: %w", err)
	}
	return i, nil
}

// write leaves out the pages that are zero: a part of the file that nobody has written to reads as zero and takes no memory.
func (i *image) write(fd int, content []byte) error {
	page := os.Getpagesize()
	for begin := 0; begin < len(content); {
		end := begin
		for end < len(content) && !zero(content[end:min(end+page, len(content))]) {
			end = min(end+page, len(content))
		}
		for begin < end {
			n, err := unix.Pwrite(fd, content[begin:end], i.at+int64(begin))
			if err != nil {
				return fmt.Errorf("write snapshot: %w", err)
			}
			begin += n
		}
		begin += page
	}
	return nil
}

func zero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	return len(bytes.TrimLeft(b, "\x00")) == 0
}

// cover maps the image privately over the beginning of a region, or copies it there.
func (i *image) cover(r *region) error {
	if len(i.bytes) == 0 {
		return nil
	}
	if uintptr(len(i.bytes)) > r.length {
		return errors.New("map snapshot: larger than the memory it belongs in")
	}
	if i.at < 0 {
		copy(r.prefix(uint64(len(i.bytes))), i.bytes)
		return nil
	}
	_, err := unix.MmapPtr(images.fd, i.at, r.base, uintptr(len(i.bytes)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("map snapshot: %w", err)
	}
	return nil
}

// close gives the part back. Nobody may have it mapped any more: what it held reads as zero from then on.
func (i *image) close() {
	if i.at < 0 {
		i.bytes = nil
	}
	if i.bytes == nil {
		return
	}
	size := int64(len(i.bytes))
	if err := unix.Munmap(i.bytes); err != nil {
		panic(fmt.Errorf("unmap a snapshot: %w", err)) // only a wrong slice can cause it
	}
	i.bytes = nil
	if err := unix.Fallocate(images.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, i.at, size); err != nil {
		panic(fmt.Errorf("give a snapshot back: %w", err)) // memory files can do it
	}
}

// clear gives back the pages from size on: they read as zero again.
func (r *region) clear(size uint64) error {
	if r.base == nil || size >= uint64(r.length) {
		return nil
	}
	err := unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(r.base, size)), r.length-uintptr(size)), unix.MADV_DONTNEED)
	if err != nil {
		return fmt.Errorf("give memory back: %w", err)
	}
	return nil
}
