//go:build !portable

package sandbox

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestEveryMethodRestores writes at random and holds the memory against the image, by each method that this kernel has. It says which it
// has, because a method that it lacks is not tested here.
func TestEveryMethodRestores(t *testing.T) {
	for _, trial := range ResetTrials() {
		t.Run(string(trial.Method), func(t *testing.T) {
			if trial.Err != nil {
				t.Logf("left out: %v", trial.Err)
				return
			}
			restoreAtRandom(t, trial.Method)
		})
	}
}

func restoreAtRandom(t *testing.T, how ResetMethod) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 4<<20)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	i, err := newImage(content, how)
	if err != nil {
		t.Fatal(err)
	}
	defer i.close()
	var memory region
	if err := memory.reserve(8 << 20); err != nil {
		t.Fatal(err)
	}
	defer memory.release()
	if err := i.cover(&memory); err != nil {
		t.Fatal(err)
	}
	d := restorer{how: how}
	zeros := make([]byte, 4<<20)
	for round := range 200 {
		d.begin()
		all := memory.prefix(8 << 20)
		for range r.IntN(20) {
			all[r.IntN(len(content))]++
		}
		if round%50 == 49 { // more than an instance keeps
			for at := 0; at < len(content); at += 4096 {
				all[at]++
			}
		}
		all[len(content)+r.IntN(4<<20)]++ // what lies beyond is not the image's
		if err := d.restore(&memory, i); err != nil {
			t.Fatal(err)
		}
		if err := memory.clear(uint64(len(content))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(all[:len(content)], content) {
			t.Fatalf("round %d: the memory differs from the image", round)
		}
		if !bytes.Equal(all[len(content):], zeros) {
			t.Fatalf("round %d: what the guest grew into is not zero", round)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, c := range []struct {
		name  string
		size  int
		pages int
	}{{"64KiB/4", 64 << 10, 4}, {"1MiB/4", 1 << 20, 4}, {"16MiB/4", 16 << 20, 4}} {
		b.Run(c.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			i, err := newImage(make([]byte, c.size), ResetByFaults)
			if err != nil {
				b.Fatal(err)
			}
			defer i.close()
			var r region
			if err := r.reserve(uint64(c.size)); err != nil {
				b.Fatal(err)
			}
			defer r.release()
			if err := i.cover(&r); err != nil {
				b.Fatal(err)
			}
			d := restorer{how: ResetByFaults}
			memory := r.prefix(uint64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				d.begin()
				for p := range c.pages {
					memory[p*4096]++
				}
				if err := d.restore(&r, i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("memcpy 64KiB", func(b *testing.B) {
		from, to := make([]byte, 64<<10), make([]byte, 64<<10)
		for b.Loop() {
			copy(to, from)
		}
	})
}
