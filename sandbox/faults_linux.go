package sandbox

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faults counts the page faults of one thread.
//
// The kernel can write a record of each fault into a ring that the process maps (perf_event_open(2)): the ring's head then stands where it
// stood as long as the thread has not faulted, and looking at it takes no system call. Faults that the kernel takes on the process's behalf
// are not recorded, so no system call may be given guest memory to write to; reading random numbers copies them for that reason. The zero
// value asks getrusage(2), which costs a system call of 0.2 us.
type faults struct{ ring *unix.PerfEventMmapPage }

func (f faults) count() int64 {
	if f.ring == nil {
		return threadFaults()
	}
	return int64(atomic.LoadUint64(&f.ring.Data_head))
}

// threadFaults counts this thread's page faults. The system call costs less than listing pages, and needs no memory of its own.
func threadFaults() int64 {
	var usage syscall.Rusage
	syscall.RawSyscall(syscall.SYS_GETRUSAGE, unix.RUSAGE_THREAD, uintptr(unsafe.Pointer(&usage)), 0)
	return usage.Minflt + usage.Majflt
}

// ring is one thread's.
type ring struct {
	fd   int
	page []byte // as mapped
}

// maxRings is for how many threads rings are kept; the guests of others are held to getrusage. Each takes a descriptor and two pages.
const maxRings = 256

// rings are those of all threads that have run guests, by thread id.
var rings struct {
	mu       sync.Mutex
	byThread map[int]*ring
}

// faultsOfThread finds or makes the ring of the thread that the caller is locked to. It costs two system calls.
func faultsOfThread() faults {
	id := unix.Gettid()
	rings.mu.Lock()
	defer rings.mu.Unlock()
	r := rings.byThread[id]
	if r != nil && r.dead() { // its thread has ended, and another has got the number
		forgetRing(id, r)
		r = nil
	}
	if r == nil {
		r = addRing(id)
	}
	if r == nil {
		return faults{}
	}
	return r.faults()
}

func (r *ring) faults() faults { return faults{(*unix.PerfEventMmapPage)(unsafe.Pointer(&r.page[0]))} }

// addRing makes the ring of this thread, or answers nil where there is no room or the kernel says no.
func addRing(id int) *ring {
	if len(rings.byThread) >= maxRings {
		for other, r := range rings.byThread {
			if r.dead() {
				forgetRing(other, r)
			}
		}
	}
	if len(rings.byThread) >= maxRings {
		return nil
	}
	r, err := newRing()
	if err != nil {
		return nil
	}
	if rings.byThread == nil {
		rings.byThread = map[int]*ring{}
	}
	rings.byThread[id] = r
	return r
}

func forgetRing(id int, r *ring) {
	delete(rings.byThread, id)
	r.close()
}

// newRing asks for a record of each fault that this thread takes outside of the kernel. A period of one event is never throttled. The ring is
// mapped to be read alone, so that the kernel writes on and on, over what is old.
func newRing() (*ring, error) {
	attributes := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_PAGE_FAULTS, Sample: 1,
		Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	attributes.Size = uint32(unsafe.Sizeof(attributes))
	fd, err := unix.PerfEventOpen(&attributes, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("ask for fault records: %w", err)
	}
	page, err := unix.Mmap(fd, 0, 2*os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map fault records: %w", errors.Join(err, unix.Close(fd)))
	}
	return &ring{fd, page}, nil
}

// dead tells whether the ring's thread has ended. The kernel hangs up then.
func (r *ring) dead() bool {
	p, at := unix.PollFd{Fd: int32(r.fd)}, unix.Timespec{}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&at)), 0, 0, 0)
	return errno != 0 || p.Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

func (r *ring) close() {
	if err := errors.Join(unix.Munmap(r.page), unix.Close(r.fd)); err != nil {
		panic(fmt.Errorf("close fault records: %w", err)) // only a wrong descriptor can cause it
	}
}

// tryRing takes many faults in a row and expects a record of each: a kernel that left some out would leave traces of one message to the next.
func tryRing() error {
	r, err := newRing()
	if err != nil {
		return err
	}
	defer r.close()
	if r.dead() {
		return errors.New("fault records end at once")
	}
	const pages = 1024
	size := pages * os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map memory for a trial: %w", err)
	}
	defer unix.Munmap(memory)
	if err := unix.Madvise(memory, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL { // EINVAL: a kernel without huge pages
		return fmt.Errorf("prepare memory for a trial: %w", err)
	}
	f, record := r.faults(), int64(0)
	for at := 0; at < size; at += os.Getpagesize() {
		before := f.count()
		memory[at] = 1
		switch moved := f.count() - before; {
		case moved <= 0:
			return fmt.Errorf("fault %d of %d left no record", at/os.Getpagesize(), pages)
		case record == 0:
			record = moved
		}
	}
	before := f.count()
	memory[0] = 2
	if f.count() != before {
		return errors.New("a write without a fault left a record")
	}
	return nil
}
