package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstBackoff  = time.Second      // doubled after each try in vain
	maxReconnects = 5                // tries in a row: 1, 2, 4, 8 and 16 s
	silence       = 45 * time.Second // three of the server's comments are missing: the connection is dead
)

// stopError ends the run, whatever else could be tried: an answer that will not change, or a place for results that is gone.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

// keepFollowing follows a stream, which is one connection each time, and connects again when the server goes away, until follow has all that it
// wants, which is nil, ctx ends or the server stays away. follow sets heard when the server has answered. The first connection is not tried
// twice: an address that was mistyped shows at once.
func (c *client) keepFollowing(ctx context.Context, hint func(format string, args ...any), heard *bool, follow func(context.Context) error) error {
	defer c.http.CloseIdleConnections()
	once, failures := false, 0
	for {
		*heard = false
		err := follow(ctx)
		if *heard {
			once, failures = true, 0
		}
		var stop stopError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &stop):
			return stop.error
		case !once:
			return err
		case failures == maxReconnects:
			return fmt.Errorf("gave up after %d tries to connect again: %w", failures, err)
		}
		pause := firstBackoff << failures
		failures++
		hint("Connection lost: %s\n  connecting again in %v (%d of %d)", firstLine(err), pause, failures, maxReconnects)
		if err := pauseUntil(ctx, time.Now().Add(pause)); err != nil {
			return err
		}
	}
}

func firstLine(err error) string {
	text := err.Error()
	for i := range text {
		if text[i] == '\n' {
			return text[:i]
		}
	}
	return text
}
