package telemetry_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

func all(*telemetry.Kept) bool { return true }

func texts(lines []telemetry.Kept) string {
	var s []string
	for _, l := range lines {
		s = append(s, fmt.Sprintf("%d:%s", l.Seq, l.Text))
	}
	return strings.Join(s, " ")
}

func TestTail(t *testing.T) {
	tail := telemetry.NewTail(3, 1000)
	write := func(tenant tenants.ID, text string) {
		tail.Write(telemetry.Line{At: time.Unix(1, 0), Tenant: tenant, App: "app", Component: "c", Stream: telemetry.Stderr, Text: []byte(text)})
	}
	if lines, next, missed := tail.Read("a", 0, 10, all); len(lines) != 0 || next != 0 || missed != 0 {
		t.Errorf("%v %d %d", lines, next, missed)
	}
	for i := range 5 {
		write("a", fmt.Sprint(i))
	}
	write("b", "other\xff")
	lines, next, missed := tail.Read("a", 0, 10, all)
	if texts(lines) != "3:2 4:3 5:4" || next != 5 || missed != 2 || lines[0].Stream != "stderr" {
		t.Errorf("%s, next %d, missed %d", texts(lines), next, missed)
	}
	if lines, next, missed := tail.Read("a", 3, 1, all); texts(lines) != "4:3" || next != 4 || missed != 0 {
		t.Errorf("%s, next %d, missed %d", texts(lines), next, missed)
	}
	if lines, next, _ := tail.Read("a", 99, 10, all); len(lines) != 3 || next != 5 {
		t.Errorf("a number of another process: %s, next %d", texts(lines), next)
	}
	if lines, next := tail.Last("a", 2, all); texts(lines) != "4:3 5:4" || next != 5 {
		t.Errorf("%s, next %d", texts(lines), next)
	}
	if lines, _, _ := tail.Read("b", 0, 10, all); texts(lines) != "1:other\uFFFD" {
		t.Errorf("%s", texts(lines))
	}
	write("a", strings.Repeat("x", 10_000))
	if lines, _, missed := tail.Read("a", 5, 10, all); len(lines) != 1 || len(lines[0].Text) > 1000 || missed != 0 {
		t.Errorf("%d lines, missed %d", len(lines), missed)
	}
	if lines, _ := tail.Last("a", 10, all); len(lines) != 1 {
		t.Errorf("a long line leaves %d", len(lines))
	}
	tail.Forget("a")
	if lines, _ := tail.Last("a", 10, all); len(lines) != 0 {
		t.Errorf("%s", texts(lines))
	}
}

// Many write while many read: every reader sees every line once, or is told that it missed it.
func TestTailHammer(t *testing.T) {
	const writers, each = 4, 2000
	tail := telemetry.NewTail(100, 1<<20)
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				tail.Write(telemetry.Line{Tenant: "a", Text: []byte(fmt.Sprintf("%d-%d", w, i))})
			}
		})
	}
	for range 4 {
		reading.Go(func() {
			after, seen := uint64(0), uint64(0)
			for seen < writers*each {
				<-tail.Wait("a", after)
				lines, next, missed := tail.Read("a", after, 50, all)
				seen += uint64(len(lines)) + missed
				if next != after+uint64(len(lines))+missed {
					t.Errorf("from %d: %d lines, %d missed, next %d", after, len(lines), missed, next)
					return
				}
				after = next
			}
		})
	}
	writing.Wait()
	reading.Wait()
}
