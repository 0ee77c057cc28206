package scheduler

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

func TestRecord(t *testing.T) {
	began := time.Now()
	for _, target := range []tenants.Target{{Name: "orders:new"}, {Kind: tenants.Pattern, Name: "orders:*"}, {Kind: tenants.Sharded, Name: "orders:new"}} {
		m := new(stock).newMessage(&frame{channel: []byte("orders:new"), payload: []byte("{}\x00")}, "", began.Add(time.Hour), 1)
		m.ID[0], m.ID[15] = 1, 2
		b := appendRecord([]byte("before"), m, began)[len("before"):]
		size, err := recordLength(b)
		if err != nil || size != int64(len(b)) || size != recordSize(m) {
			t.Fatal(size, err)
		}
		got, err := new(stock).readRecord(b, target, began)
		if err != nil || got.ID != m.ID || !got.Received.Equal(m.Received) || got.Channel() != "orders:new" || string(got.Payload()) != "{}\x00" ||
			(got.Pattern() != "") != (target.Kind == tenants.Pattern) {
			t.Errorf("%v: %+v, %v", target, got, err)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			_, headErr := recordLength(bad)
			if i < 8 && headErr == nil {
				t.Errorf("byte %d of the length may change", i)
			}
			if _, err := new(stock).readRecord(bad, target, began); i >= 8 && err == nil {
				t.Errorf("byte %d may change", i)
			}
		}
	}
}

// disk is a Scheduler with one trigger that handles one at a time and has room for four, the rest of what it was sent on disk.
type disk struct {
	*Scheduler
	in     reader
	queue  *triggerQueue
	digits int // of a message's number, at least
	let    chan struct{}
	log    bytes.Buffer

	mu   sync.Mutex
	seen []string
}

func (d *disk) Open() Session { return d }

func (d *disk) Close() {}

func (d *disk) Invoke(_ context.Context, m *Delivery) Result {
	<-d.let
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, string(m.Payload()))
	return Result{}
}

// onDisk runs a test in synthetic time.
func onDisk(t *testing.T, test func(t *testing.T, d *disk)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan struct{})}
		var err error
		if d.Scheduler, err = New(Config{Recorder: telemetry.New(100), Spill: dir, Slots: 1, Log: slog.New(slog.NewTextHandler(&d.log, nil))}); err != nil {
			t.Fatal(err)
		}
		d.AddEndpoint(Endpoint{ID: "e", Name: "nowhere", Dial: nowhere})
		d.SetPolicy("t", tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20})
		trigger := Trigger{Trigger: tenants.Trigger{
			Tenant: "t", App: "a", Endpoint: "e", Target: tenants.Target{Name: "c"}, Limits: tenants.Limits{Concurrency: 1, Overflow: tenants.Spill},
		}, Invoker: d}
		if err := d.Apply("t", "a", []Trigger{trigger}); err != nil {
			t.Fatal(err)
		}
		d.in.endpoint = d.endpoints[0]
		d.queue = d.tenants["t"].apps[0].triggers[0]
		test(t, d)
		if left, err := d.Shutdown(t.Context()); err != nil || !left.Nothing() {
			t.Error(left, err)
		}
		c := d.config.Recorder.Account("t").Counts()
		if c.Received != c.Ended() || d.Load("t") != (Load{}) || d.queue.spill != nil || d.Scheduler.queue.spiller.cost != 0 || d.Scheduler.queue.spiller.files != 0 {
			t.Errorf("%+v, %+v, %+v", c, d.Load("t"), d.Scheduler.queue.spiller)
		}
	})
}

// send receives messages numbered from and below to, in one read, and returns when they are where they wait.
func (d *disk) send(from, to int) {
	var frames []frame
	for i := from; i < to; i++ {
		frames = append(frames, frame{kind: 'm', channel: []byte("c"), payload: fmt.Appendf(nil, "%0*d", d.digits, i)})
	}
	d.receive(&d.in, time.Now(), frames)
	synctest.Wait()
}

// finish has everything handled and returns what was.
func (d *disk) finish() []string {
	close(d.let)
	synctest.Wait()
	return d.seen
}

func sequence(n int, missing ...int) (want []string) {
	for i := range n {
		if !slices.Contains(missing, i) {
			want = append(want, fmt.Sprint(i))
		}
	}
	return want
}

// TestSpillCorrupt: a record that changed on disk costs its own message; where its length did, the rest of its file.
func TestSpillCorrupt(t *testing.T) {
	const record = recordHead + bodyHead + 3 // of one digit in channel "c", and one more
	for _, row := range []struct {
		name    string
		at      int64 // from the beginning of the third record on disk
		reason  string
		missing int
	}{
		{"payload", recordHead + bodyHead + 1, "spill_corrupt", 1},
		{"checksum", 8, "spill_corrupt", 1},
		{"length", 0, "spill_corrupt", 50 - 5 - 2},
		{"torn", -1, "spill_failed", 50 - 5 - 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			onDisk(t, func(t *testing.T, d *disk) {
				d.send(100, 101)
				d.send(10, 60) // four in memory
				g := d.queue.spill.segments[0]
				if g.left != 50-4 {
					t.Fatalf("%d on disk", g.left)
				}
				begin := g.read + 2*record
				if row.at >= 0 {
					if _, err := g.file.WriteAt([]byte{0xff}, begin+row.at); err != nil {
						t.Fatal(err)
					}
				} else if err := g.file.Truncate(begin + 3); err != nil {
					t.Fatal(err)
				}
				seen := d.finish()
				c := d.config.Recorder.Account("t").Counts()
				if c.Reasons["spill_corrupt"]+c.Reasons["spill_failed"] != int64(51-len(seen)) || c.Reasons[row.reason] == 0 || c.Outcomes["handled"] != int64(len(seen)) {
					t.Errorf("%v, %d handled", c.Reasons, len(seen))
				}
				if row.missing == 1 && (len(seen) != 50 || slices.Contains(seen, "16")) || !slices.IsSorted(seen[1:]) {
					t.Errorf("%v", seen)
				}
				if strings.Count(d.log.String(), "\n") != 1 {
					t.Error(d.log.String())
				}
			})
		})
	}
}

// TestSpillBehind: what waits for the disk is bounded, for a tenant and for all; the reader goes on.
func TestSpillBehind(t *testing.T) {
	onDisk(t, func(t *testing.T, d *disk) {
		q := &d.Scheduler.queue
		d.send(0, 1)
		d.send(1, 5)
		q.mu.Lock()
		q.spiller.running = true // a goroutine that the disk holds up
		q.mu.Unlock()
		d.SetPolicy("t", tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20, SpillBytes: 1 << 30, SpillTotal: 1 << 30})
		payload := make([]byte, 1<<20)
		for range 20 {
			d.receive(&d.in, time.Now(), []frame{{kind: 'm', channel: []byte("c"), payload: payload}})
		}
		if c := d.config.Recorder.Account("t").Counts(); c.Reasons["spill_behind"] != 20-15 {
			t.Errorf("%+v", c.Reasons)
		}
		q.mu.Lock()
		q.spiller.group.Go(q.spiller.work)
		q.mu.Unlock()
		synctest.Wait()
		d.send(5, 6)
		if seen := d.finish(); len(seen) != 5+15+1 || seen[len(seen)-1] != "5" {
			t.Errorf("%d handled, last %.10s", len(seen), seen[len(seen)-1])
		}
	})
}

// TestSpillFiles: what was read gives its disk back file by file, one that was read to its end is written anew, and none has a name.
func TestSpillFiles(t *testing.T) {
	onDisk(t, func(t *testing.T, d *disk) {
		d.SetPolicy("t", tenants.Policy{QueueCount: 1000, QueueBytes: 1 << 20, SpillBytes: 1 << 30})
		d.digits = 500
		const n = 3*segmentSize/(recordHead+bodyHead+500) + 5000
		for i := 0; i < n; i += 500 {
			d.send(i, i+500)
		}
		p := d.queue.spill
		if len(p.segments) < 3 || len(p.segments) > 4 || d.Scheduler.queue.spiller.files != len(p.segments) {
			t.Fatalf("%d files", len(p.segments))
		}
		if names, _ := os.ReadDir(d.Scheduler.queue.spiller.dir); len(names) > 0 {
			t.Errorf("%v", names)
		}
		for p.disk > 1 {
			d.let <- struct{}{}
			synctest.Wait()
		}
		if len(p.segments) > 2 {
			t.Errorf("%d files", len(p.segments))
		}
		if seen := d.finish(); len(seen) < n || !slices.IsSorted(seen) {
			t.Errorf("%d of %d, or out of order", len(seen), n)
		}
	})
}

// TestCleanSpill: files that a process has left are removed at the start, and nothing else is.
func TestCleanSpill(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"12" + spillSuffix, "keep"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Config{Recorder: telemetry.New(1), Spill: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	if names, _ := os.ReadDir(dir); len(names) != 1 || names[0].Name() != "keep" {
		t.Errorf("%v", names)
	}
}

// TestSpillAgainstModel sends and handles in random turns, with policies and versions that change, and holds the order against a plain list.
func TestSpillAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		onDisk(t, func(t *testing.T, d *disk) {
			r := rand.New(rand.NewPCG(seed, 3))
			sent := 0
			for range 150 {
				switch r.IntN(6) {
				case 0, 1:
					n := r.IntN(40)
					d.send(sent, sent+n)
					sent += n
				case 2, 3, 4:
					for range r.IntN(30) {
						select {
						case d.let <- struct{}{}:
							synctest.Wait()
						default:
						}
					}
				case 5:
					d.SetPolicy("t", tenants.Policy{QueueCount: 1 + r.IntN(50), QueueBytes: 1000 + r.Int64N(20_000)})
				}
				c, l := d.config.Recorder.Account("t").Counts(), d.Load("t")
				if c.Received != int64(sent) || c.Queued != int64(l.Queued) || c.Received != c.Ended()+int64(l.Queued+l.InFlight) {
					t.Fatalf("seed %d: sent %d, %+v, %+v", seed, sent, c, l)
				}
			}
			if seen := d.finish(); !slices.Equal(seen, sequence(sent)) {
				t.Errorf("seed %d: %v of %d", seed, seen, sent)
			}
		})
	}
}

// nowhere is a server that never answers.
func nowhere(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
