package sandbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/tenloom/tenloom/telemetry"
)

// DefaultLogRate is how many lines a component may print in a second, over all its invocations, where its Binding says nothing.
const DefaultLogRate = 1000

// lines hands a component's lines on, as many in a second as it may print: a bucket that holds a second's worth. What is beyond is cut and
// counted, and a line of the platform's says a second later how many were. It keeps nothing but the count.
type lines struct {
	to   func(Line) // nil drops all lines
	rate int

	mu    sync.Mutex
	left  float64
	at    time.Time
	cut   int64       // since the last word about it
	timer *time.Timer // until the next word; nil where nothing is cut
}

func newLines(to func(Line), rate int) *lines {
	return &lines{to: to, rate: rate, left: float64(rate), at: time.Now()}
}

// pass hands a line on or cuts it.
func (l *lines) pass(line Line) {
	if l.to != nil && l.take(time.Now()) {
		l.to(line)
	}
}

func (l *lines) take(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := now.Sub(l.at); since > 0 {
		l.left = min(float64(l.rate), l.left+since.Seconds()*float64(l.rate))
		l.at = now
	}
	if l.left >= 1 {
		l.left--
		return true
	}
	l.cut++
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Second, l.tell)
	}
	return false
}

// tell says how many lines were cut. It runs on the timer's goroutine, or on that of close.
func (l *lines) tell() {
	l.mu.Lock()
	cut := l.cut
	l.cut, l.timer = 0, nil
	l.mu.Unlock()
	were := "lines were"
	if cut == 1 {
		were = "line was"
	}
	if cut > 0 {
		l.to(Line{Stream: telemetry.Stderr, Platform: true, Text: fmt.Appendf(nil,
			"%d %s cut: the component printed more than %d in a second; more go into log_rate = ... in [component.<id>.tool.tenloom]", cut, were, l.rate)})
	}
}

// close says what is still to be said.
func (l *lines) close() {
	l.mu.Lock()
	waiting := l.timer != nil && l.timer.Stop()
	l.mu.Unlock()
	if waiting {
		l.tell()
	}
}
