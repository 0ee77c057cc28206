package scheduler_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestRemoveEndpoint: a server that triggers use stays, paused ones too; what is removed is disconnected, and its place is free for another.
func TestRemoveEndpoint(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	h, book := newHouse(t, scheduler.Config{}), newBook()
	h.connect("e", one.URL)
	h.connect("two", two.URL)
	second := on(channel("c"), book.of("two"))
	second.Endpoint = "two"
	h.apply("a", "app", second)
	h.awaitActive()
	if err := h.RemoveEndpoint("two"); !errors.Is(err, scheduler.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	if err := h.Pause("a", "app", "for now"); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveEndpoint("two"); !errors.Is(err, scheduler.ErrInUse) {
		t.Errorf("in use by what is paused: %v", err)
	}
	tap, err := h.Tap("e", []tenants.Target{channel("d")}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.RemoveEndpoint("e"), h.RemoveEndpoint("e"), h.RemoveEndpoint("nowhere")); err != nil {
		t.Fatal(err)
	}
	if err := h.Renew(context.Background(), "e", ""); !errors.Is(err, scheduler.ErrUnknown) {
		t.Errorf("renew what was removed: %v", err)
	}
	if err := h.Apply("a", "other", []scheduler.Trigger{on(channel("c"), handled)}); !errors.Is(err, scheduler.ErrUnknown) {
		t.Errorf("a trigger on what was removed: %v", err)
	}
	h.connect("three", one.URL)
	tap.Close()
	third := on(channel("c"), book.of("three"))
	third.Endpoint = "three"
	h.apply("a", "other", third)
	if err := h.Resume("a", "app"); err != nil {
		t.Fatal(err)
	}
	h.awaitActive()
	publish(t, one.Client(), "c", "x")
	publish(t, two.Client(), "c", "y")
	h.await("end of both", func() bool { return h.counts("a").Ended() == 2 })
	h.stop()
	if got := book.notes(); got["three x"] != 1 || got["two y"] != 1 {
		t.Errorf("%v", got)
	}
}

// TestRemoveEndpointHammer: servers come and go while applications do, and nothing is left.
func TestRemoveEndpointHammer(t *testing.T) {
	server := redistest.Start(t)
	h := newHouse(t, scheduler.Config{})
	var all sync.WaitGroup
	for _, id := range []tenants.EndpointID{"x", "y"} {
		for _, app := range []tenants.AppName{"one", "two"} {
			all.Go(func() {
				for range 50 {
					h.connect(id, server.URL)
					trigger := on(channel("c"), handled)
					trigger.Endpoint, trigger.Tenant, trigger.App = id, "a", app+tenants.AppName(id)
					err := h.Apply("a", trigger.App, []scheduler.Trigger{trigger})
					if err != nil && !errors.Is(err, scheduler.ErrUnknown) {
						t.Error(err)
					}
					if err := h.Apply("a", trigger.App, nil); err != nil {
						t.Error(err)
					}
					if err := h.RemoveEndpoint(id); err != nil && !errors.Is(err, scheduler.ErrInUse) {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	h.stop()
}
