package scheduler

import (
	"context"
	"math/rand/v2"
	"time"
)

// Waits between attempts to connect. A server that comes back must be subscribed to within a second, so the longest wait is a quarter of
// one: half a wait of the old attempt, dialling, and the acks fit into the rest. It is one connection for each endpoint, so a server that is
// down sees about eight attempts a second from a process; the jitter keeps processes from coming all at once.
const (
	minBackoff = 10 * time.Millisecond
	maxBackoff = 250 * time.Millisecond
)

// backoff is exponential with full jitter: each wait is evenly spread between 0 and a ceiling that doubles up to maxBackoff.
type backoff struct {
	ceiling time.Duration // of the next wait; 0 means minBackoff
}

func (b *backoff) reset() { b.ceiling = 0 }

func (b *backoff) next() time.Duration {
	ceiling := max(b.ceiling, minBackoff)
	b.ceiling = min(2*ceiling, maxBackoff)
	return rand.N(ceiling + 1)
}

// wait sleeps for the next wait or until ctx ends.
func (b *backoff) wait(ctx context.Context) { wait(ctx, b.next()) }

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
