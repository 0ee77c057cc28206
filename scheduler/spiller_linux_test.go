package scheduler

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSpillDiskFull: a disk that is full, the kernel's own, drops the newest with a reason; what is on disk already comes back, and when there
// is room again, it is used.
func TestSpillDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	onDisk(t, func(t *testing.T, d *disk) {
		d.send(0, 1)
		d.send(1, 20)
		g := d.queue.spill.segments[0]
		real := g.file
		g.file = full
		d.send(20, 30)
		d.send(30, 40) // refused at once
		g.file = real
		time.Sleep(retryAfter)
		d.send(40, 50)
		seen := d.finish()
		var lost []int
		for i := 20; i < 40; i++ {
			lost = append(lost, i)
		}
		if !slices.Equal(seen, sequence(50, lost...)) {
			t.Errorf("%v", seen)
		}
		if c := d.config.Recorder.Account("t").Counts(); c.Reasons["spill_failed"] != 20 || c.Outcomes["handled"] != 30 {
			t.Errorf("%+v", c)
		}
		if lines := d.log.String(); strings.Count(lines, "\n") != 1 || !strings.Contains(lines, "no space left on device") {
			t.Error(lines)
		}
	})
}
