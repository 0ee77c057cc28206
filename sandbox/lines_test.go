package sandbox

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinesAreCut: a burst of a second's worth goes through, what is beyond is cut, and one line a second says how many were.
func TestLinesAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var guest int
		var said []string
		l := newLines(func(line Line) {
			mu.Lock()
			defer mu.Unlock()
			if !line.Platform {
				guest++
				return
			}
			said = append(said, strings.SplitN(string(line.Text), ":", 2)[0])
			if !strings.Contains(string(line.Text), "more than 100 in a second; more go into log_rate = ") {
				t.Errorf("%q", line.Text)
			}
		}, 100)
		var all sync.WaitGroup
		for range 5 { // invocations
			all.Go(func() {
				for range 100 {
					l.pass(Line{Text: []byte("x")})
				}
			})
		}
		all.Wait()
		time.Sleep(500 * time.Millisecond)
		for range 60 {
			l.pass(Line{})
		}
		time.Sleep(time.Hour)
		for range 101 {
			l.pass(Line{})
		}
		l.close()
		l.close()
		if want := []string{"410 lines were cut", "1 line was cut"}; fmt.Sprint(said) != fmt.Sprint(want) || guest != 250 {
			t.Errorf("%d lines and %q, want 250 and %q", guest, said, want)
		}
	})
}

// TestLinesOfNobody are dropped without a word.
func TestLinesOfNobody(t *testing.T) {
	l := newLines(nil, 1)
	for range 10 {
		l.pass(Line{})
	}
	l.close()
	if l.cut != 0 {
		t.Error("lines that nobody takes are counted")
	}
}
