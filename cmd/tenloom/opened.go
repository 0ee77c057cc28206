package main

import (
	"context"
	"errors"
	"slices"
)

// opened is what a process has opened, with how to close it. Each part is used by those that were opened after it, so the last is closed first.
type opened []func(context.Context) error

func (o *opened) add(close func(context.Context) error) { *o = append(*o, close) }

// close releases everything, once.
func (o *opened) close(ctx context.Context) error {
	var err error
	for _, close := range slices.Backward(*o) {
		err = errors.Join(err, close(ctx))
	}
	*o = nil
	return err
}

// always is the close of a part that cannot fail at it.
func always(close func()) func(context.Context) error {
	return func(context.Context) error {
		close()
		return nil
	}
}

// plainly is the close of a part that needs no context.
func plainly(close func() error) func(context.Context) error {
	return func(context.Context) error { return close() }
}
