package tenants

import (
	"fmt"
	"slices"
	"time"
)

// Step is one state that something long-lived entered, when, and why.
type Step struct {
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"` // stable code, such as "out_of_memory"; at most 100 bytes
	Detail string    `json:"detail,omitempty"` // a sentence for people; cut at 2,000 bytes
	At     time.Time `json:"at"`
}

// maxSteps is how many steps a record keeps: the first one and the newest.
const maxSteps = 32

// enter appends a step. At the bound the second oldest goes.
func enter(steps []Step, s Step) []Step {
	s.Detail = cut(s.Detail, 2000)
	s.Reason = cut(s.Reason, 100)
	if len(steps) >= maxSteps {
		return append(slices.Clone(steps[:1]), append(steps[2:], s)...)
	}
	return append(slices.Clone(steps), s)
}

// cut shortens text to so many bytes without splitting a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most]
}

// life says for each state which ones may follow it; what has none is final.
type life[T ~string] map[T][]T

func (l life[T]) check(what string, from, to T) error {
	if !slices.Contains(l[from], to) {
		return fmt.Errorf("%s is %s, which %s cannot follow", what, from, to)
	}
	return nil
}
