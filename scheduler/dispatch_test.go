//go:build unix

package scheduler

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDispatch is what scheduling one delivery costs with ten thousand tenants of which a hundredth is active: admission in reads of 64,
// the choice of whose turn it is, a run of one, and its bill, with the locks as they are taken in a process. Beside the time it gives the
// process' CPU time, which other work on the machine does not change.
func BenchmarkDispatch(b *testing.B) {
	const registered, active, read = 10_000, 100, 64
	now := time.Unix(1000, 0)
	q := &queue{slots: 64, shared: true}
	var all []*triggerQueue
	for i := range registered {
		all = append(all, tenantWith(fmt.Sprint(i), 1, 1)...)
	}
	m := waitingMessage("x", 64, now)
	arrivals := make([]arrival, 0, read)
	var r run
	b.ReportAllocs()
	began := cpuTime(b)
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += read {
		arrivals = arrivals[:0]
		for i := range read {
			t := all[(sent+i)%active*(registered/active)]
			arrivals = append(arrivals, arrival{trigger: t, message: m, version: t.version.Load()})
		}
		q.mu.Lock()
		if refused := q.admit(arrivals, now); len(refused) > 0 {
			b.Fatal(refused[0].reason)
		}
		q.busy++
		for q.next(&r, now) {
			q.mu.Unlock()
			for r.claim() != nil {
				now = now.Add(time.Microsecond)
				r.took += time.Microsecond
			}
			q.mu.Lock()
			q.done(&r, now)
		}
		q.busy--
		q.mu.Unlock()
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
