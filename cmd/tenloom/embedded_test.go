package main

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestEmbeddedOutlivesEveryPattern: one that the embedded Redis cannot take is refused, and the server answers on.
func TestEmbeddedOutlivesEveryPattern(t *testing.T) {
	e, err := startEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := redis.NewClient(&redis.Options{Addr: e.Addr(), Protocol: 2})
	defer c.Close()
	ctx := context.Background()
	for _, pattern := range []string{"\xfe*", "[z-a]", "a[\xff]", `[\`, `x[a\`, "[[:nope:]]", "[a-\\d]", `[\8]`, `[\p{Nope}]`} {
		for _, command := range [][]any{{"KEYS", pattern}, {"SCAN", "0", "MATCH", pattern}, {"PUBSUB", "CHANNELS", pattern}} {
			if err := c.Do(ctx, command...).Err(); err != nil && !strings.Contains(err.Error(), "embedded Redis does not take") {
				t.Errorf("%q: %v", command, err)
			}
		}
		p := c.PSubscribe(ctx, pattern)
		p.Receive(ctx) // refused, or subscribed where it can be
		p.Close()
	}
	for _, pattern := range []string{"*", "h?llo", "[a-c]x", `\[z-a]`, "[^a]", "[]", "ü*"} {
		if err := c.Keys(ctx, pattern).Err(); err != nil {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
