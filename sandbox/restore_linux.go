//go:build !portable

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restorer finds the pages of an instance's memory that differ from its image and copies them back.
//
// A page that was written once stays a private copy ("sticky"), so writing it again faults no more, and it is copied back after every
// message. A page becomes private by a fault of the thread that writes it, and guests run on a locked thread: as long as the thread's fault
// counter stands where it stood when the message began, the list of sticky pages is complete. When it moved, the kernel is asked again which
// pages have left the file.
type restorer struct {
	how    ResetMethod
	whole  int64 // bytes of the image, where all of it is copied
	sticky []pageRange
	listed bool   // sticky is complete as of the last restore
	thread faults // of the thread that the guest is on
	known  bool   // thread is this thread's, and count is where it stood when the message began
	count  int64
	found  [64]pageRange
}

// pageRange is struct page_region of Linux' PAGEMAP_SCAN.
type pageRange struct {
	start, end uint64
	_          uint64 // categories
}

// maxSticky is how many bytes of private copies an instance keeps. One that has more gives all of them back, and pays their faults again.
const maxSticky = 1 << 20

// begin notes where the thread's fault counter stands. The caller has locked its goroutine to the thread until restore has returned, and
// stays locked where the next message follows.
func (d *restorer) begin() {
	if d.known {
		return // as of the last restore
	}
	switch d.how {
	case ResetByRecords:
		d.thread = faultsOfThread()
	case ResetByFaults:
		d.thread = faults{}
	default:
		return
	}
	d.known, d.count = true, d.thread.count()
}

// moved tells that the guest may be on another thread from here on, in the middle of a message.
func (d *restorer) moved() { d.listed, d.known = false, false }

// leave tells that the thread is given up after restore.
func (d *restorer) leave() { d.known = false }

// private is how many bytes of the memory are copies of the instance's own.
func (d *restorer) private() (n int64) {
	n = d.whole
	for _, p := range d.sticky {
		n += int64(p.end - p.start)
	}
	return n
}

// restore makes the memory equal to the image, as far as the image goes.
func (d *restorer) restore(r *region, i *image) error {
	if len(i.bytes) == 0 {
		return nil
	}
	if d.how == ResetByCopy {
		d.whole = int64(len(i.bytes))
		copy(r.prefix(uint64(len(i.bytes))), i.bytes)
		return nil
	}
	if !d.clean() {
		if err := d.list(r, uint64(len(i.bytes))); err != nil {
			return err
		}
	}
	base := uint64(uintptr(r.base))
	memory := r.prefix(uint64(len(i.bytes)))
	for _, p := range d.sticky {
		copy(memory[p.start-base:p.end-base], i.bytes[p.start-base:p.end-base])
	}
	return nil
}

// clean tells whether sticky is still complete. It leaves the counter as the next message finds it: what the host faults on between two
// messages costs a list too many, no more.
func (d *restorer) clean() bool {
	if !d.known {
		return false
	}
	before := d.count
	d.count = d.thread.count()
	return d.listed && d.count == before
}

// list asks the kernel which pages are private copies, and drops all of them where they are too many.
func (d *restorer) list(r *region, size uint64) (err error) {
	start := uint64(uintptr(r.base))
	d.sticky = d.sticky[:0]
	if d.how == ResetByPagemap {
		d.sticky, err = readPagemap(d.sticky, start, start+size)
	} else {
		err = d.scan(start, start+size)
	}
	if err != nil {
		return err
	}
	total := uint64(0)
	for _, p := range d.sticky {
		total += p.end - p.start
	}
	d.listed = true
	if total > maxSticky {
		d.sticky, d.listed = d.sticky[:0], false
		return d.drop(r, size)
	}
	return nil
}

// forget gives back all private copies while no guest runs.
func (d *restorer) forget(r *region, i *image) error {
	if len(d.sticky) == 0 || d.how == ResetByCopy {
		return nil // copied memory has nothing behind it that would show
	}
	d.sticky, d.listed = d.sticky[:0], false
	return d.drop(r, uint64(len(i.bytes)))
}

// drop forgets all private copies at once.
func (d *restorer) drop(r *region, size uint64) error {
	if err := unix.Madvise(r.prefix(size), unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("drop written pages: %w", err)
	}
	return nil
}

// scan lists pages that are present or swapped and no longer the file's, with PAGEMAP_SCAN (Linux 6.7 and later,
// https://docs.kernel.org/admin-guide/mm/pagemap.html).
func (d *restorer) scan(start, end uint64) error {
	const request, file, present, swapped = 0xC0606610, 1 << 2, 1 << 3, 1 << 4
	f, err := pagemap()
	if err != nil {
		return err
	}
	for start < end {
		arg := struct {
			size, flags, start, end, walkEnd, vec, vecLen, maxPages, inverted, mask, anyOf, returned uint64
		}{96, 0, start, end, 0, uint64(uintptr(unsafe.Pointer(&d.found))), uint64(len(d.found)), 0, file, file, present | swapped, present}
		n, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&arg)))
		if errno != 0 {
			return fmt.Errorf("ask for written pages: ioctl PAGEMAP_SCAN: %w", errno)
		}
		d.sticky = append(d.sticky, d.found[:n]...)
		if start = arg.walkEnd; n < uintptr(len(d.found)) {
			return nil
		}
	}
	return nil
}

// readPagemap lists the same with the entries of /proc/self/pagemap: 8 bytes a page, bit 63 present, 62 swapped, 61 of a file.
func readPagemap(into []pageRange, start, end uint64) ([]pageRange, error) {
	f, err := pagemap()
	if err != nil {
		return into, err
	}
	page := uint64(os.Getpagesize())
	entries := make([]uint64, (end-start)/page)
	if len(entries) == 0 {
		return into, nil
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&entries[0])), 8*len(entries))
	if _, err := f.ReadAt(raw, int64(8*start/page)); err != nil {
		return into, fmt.Errorf("ask for written pages: %w", err)
	}
	for k, e := range entries {
		if e>>62 == 0 || e>>61&1 == 1 {
			continue
		}
		at := start + uint64(k)*page
		if n := len(into); n > 0 && into[n-1].end == at {
			into[n-1].end += page
			continue
		}
		into = append(into, pageRange{start: at, end: at + page})
	}
	return into, nil
}

// pagemap is open as long as the process: it speaks of the process that opened it.
var pagemap = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/pagemap") })

// resetTrials tries all methods, once.
var resetTrials = sync.OnceValue(func() []ResetTrial {
	var all []ResetTrial
	for _, how := range []ResetMethod{ResetByRecords, ResetByFaults, ResetByScan, ResetByPagemap} {
		all = append(all, ResetTrial{how, try(how)})
	}
	return append(all, ResetTrial{Method: ResetByCopy})
})

// try writes one page of three and expects to be told that one.
func try(how ResetMethod) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := pagemap(); err != nil {
		return err
	}
	if how == ResetByRecords {
		if err := tryRing(); err != nil {
			return err
		}
	}
	page := uint64(os.Getpagesize())
	i, err := newImage(make([]byte, 3*page), how)
	if err != nil {
		return err
	}
	defer i.close()
	var r region
	if err := r.reserve(3 * page); err != nil {
		return err
	}
	defer r.release()
	if err := i.cover(&r); err != nil {
		return err
	}
	memory := r.prefix(3 * page)
	sink := memory[0]
	before := threadFaults()
	memory[page] = 1 + sink
	if (how == ResetByRecords || how == ResetByFaults) && threadFaults() == before {
		return errors.New("the thread's fault counter stands still")
	}
	d := restorer{how: how}
	if err := d.list(&r, 3*page); err != nil {
		return err
	}
	base := uint64(uintptr(r.base))
	if len(d.sticky) != 1 || d.sticky[0].start != base+page || d.sticky[0].end != base+2*page {
		return fmt.Errorf("wrote page 1, was told %v", d.sticky)
	}
	return nil
}
