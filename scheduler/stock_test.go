package scheduler

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// TestStockGivesNoMessageTwice takes messages of all sizes on one goroutine and releases them on others, two references each, as a reader and
// its workers do: what a message says must stand until its last release.
func TestStockGivesNoMessageTwice(t *testing.T) {
	const workers, messages = 3, 8000
	sizes := []int{0, 1, 64, 120, 121, 300, 5000, keepBuffer + 1}
	var all [workers]chan *Message
	var wait sync.WaitGroup
	for w := range all {
		all[w] = make(chan *Message, 200)
		wait.Go(func() { // ends when its channel is closed
			var s stock
			for m := range all[w] {
				if p := m.Payload(); len(p) > 0 && bytes.Count(p, p[:1]) != len(p) || m.Channel() != "channel" {
					t.Errorf("a message of %d bytes changed before its release", len(p))
				}
				if m.release(&s); w == 0 {
					s.empty() // as a worker that finds nothing more
				}
			}
			s.empty()
		})
	}
	var s stock
	for n := range messages {
		payload := bytes.Repeat([]byte{byte(n)}, sizes[n%len(sizes)])
		m := s.newMessage(&frame{kind: 'p', channel: []byte("channel"), payload: payload}, "*", time.Time{}, 2)
		all[n%workers] <- m
		all[(n+1)%workers] <- m
	}
	for _, c := range all {
		close(c)
	}
	wait.Wait()
	s.empty()
}

// TestStockKeepsOrder holds that messages come back in the order in which they were given, as long as nobody else takes any.
func TestStockKeepsOrder(t *testing.T) {
	var s stock
	var first [batchSize]*Message
	for i := range first {
		first[i] = new(Message)
	}
	for _, m := range first[:batchSize-1] {
		s.give(m)
	}
	for i, want := range first[:10] {
		if s.take() != want {
			t.Fatalf("the message at %d is another", i)
		}
	}
	s.give(first[0])
	for i, want := range append(first[10:batchSize-1:batchSize-1], first[0]) {
		if s.take() != want {
			t.Fatalf("the message at %d is another", i)
		}
	}
}
