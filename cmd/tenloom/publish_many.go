package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tally sums up what one handler did with many messages in one way.
type tally struct {
	first    publishDelivery
	times    int
	sum, max float64 // of durations, milliseconds
}

// tallyKey keeps handlers and outcomes apart. There are as many as triggers match, times the ways to end.
type tallyKey struct{ app, component, version, outcome, reason string }

// manyTally sums up many messages.
type manyTally struct {
	answer  publishAnswer // of the last message, with Bytes, Matched and Pending of all
	sent    int
	keys    []tallyKey
	tallies map[tallyKey]*tally
	verdict error // of the worst message
}

// runMany publishes again and again, no faster than the rate, and prints a summary, or with JSON each answer on a line of its own. The
// first request that fails ends it, after the summary of what was done.
func (p *publisher) runMany(ctx context.Context) error {
	all := manyTally{tallies: map[tallyKey]*tally{}}
	err := p.publishMany(ctx, &all)
	if !p.screen.isJSON() && all.sent > 0 {
		if printErr := p.printMany(&all); err == nil {
			err = printErr
		}
	}
	if err != nil {
		return fmt.Errorf("after %d of %s: %w", all.sent, count(p.count, "message"), err)
	}
	p.warn(all.answer)
	return all.verdict
}

func (p *publisher) publishMany(ctx context.Context, all *manyTally) error {
	lines := p.screen
	lines.format = "ndjson"
	next := time.Now()
	for range p.count {
		if err := pauseUntil(ctx, next); err != nil {
			return err
		}
		next = next.Add(p.pause)
		answer, doc, err := p.publish(ctx)
		if err != nil {
			return err
		}
		if p.screen.isJSON() {
			if err := lines.json(doc); err != nil {
				return err
			}
		}
		all.add(answer, p.verdict(answer))
	}
	return nil
}

// pauseUntil waits for a time, or until ctx ends.
func pauseUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return ctx.Err()
	}
}

func (all *manyTally) add(answer publishAnswer, verdict error) {
	answer.Bytes += all.answer.Bytes
	answer.Pending += all.answer.Pending
	answer.Matched += all.answer.Matched
	all.answer = answer
	all.sent++
	for _, d := range answer.Deliveries {
		key := tallyKey{d.App, d.Component, d.Version, d.Outcome, d.Reason}
		t := all.tallies[key]
		if t == nil {
			t = &tally{first: d}
			all.tallies[key] = t
			all.keys = append(all.keys, key)
		}
		t.times++
		t.sum += d.DurationMS
		t.max = max(t.max, d.DurationMS)
	}
	var failed *exitError
	if all.verdict == nil || errors.As(verdict, &failed) && failed.code == exitFailed {
		all.verdict = verdict
	}
}

func deliveries(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}

func (p *publisher) printMany(all *manyTally) error {
	a := all.answer
	head := []string{count(all.sent, "message"), plain(a.Channel), size(a.Bytes), deliveries(a.Matched)}
	if err := p.screen.rows("", [][]string{head}); err != nil {
		return err
	}
	var rows [][]string
	var firsts []publishDelivery
	for _, key := range all.keys {
		t := all.tallies[key]
		firsts = append(firsts, t.first)
		row := []string{
			p.outcome(key.outcome), p.handler(t.first), count(t.times, "time"),
			"mean " + millis(t.sum/float64(t.times)), "max " + millis(t.max),
		}
		if key.outcome != "handled" {
			row = append(row, "first: "+t.first.said())
		}
		rows = append(rows, row)
	}
	if err := p.screen.rows("  ", rows); err != nil {
		return err
	}
	if id := worth(firsts); id != "" {
		return p.screen.rows("", [][]string{{"Trace", p.client.url("invocations/" + id)}})
	}
	return nil
}
