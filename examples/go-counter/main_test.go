package main

import (
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sdk/hosttest"
)

func TestCount(t *testing.T) {
	hosttest.Reset()
	hosttest.SetVariable("redis_address", "redis://cache")
	hosttest.SetVariable("greeting", "good day")
	for _, m := range []hosttest.Message{
		{Channel: "a", Payload: []byte("Ada")},
		{Channel: "b", Payload: []byte("Bob")},
		{Channel: "a", Payload: []byte("Cy")},
	} {
		if err := hosttest.Deliver(m); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, p := range hosttest.Published() {
		got = append(got, p.Channel+" "+string(p.Payload))
	}
	want := []string{"count.replies 1: good day Ada", "count.replies 1: good day Bob", "count.replies 2: good day Cy"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("published %q, want %q", got, want)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct{ name, greeting, payload, want string }{
		{"empty message", "hello", "", "empty message"},
		{"undefined variable", "", "Ada", "greeting"},
	} {
		hosttest.Reset()
		hosttest.SetVariable("redis_address", "redis://cache")
		if c.greeting != "" {
			hosttest.SetVariable("greeting", c.greeting)
		}
		err := hosttest.Deliver(hosttest.Message{Channel: "a", Payload: []byte(c.payload)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that holds %q", c.name, err, c.want)
		}
	}
}
