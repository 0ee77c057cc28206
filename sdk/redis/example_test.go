package redis_test

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/sdk/hosttest"
	"github.com/tenloom/tenloom/sdk/redis"
	"github.com/tenloom/tenloom/sdk/variables"
)

// In a module this is func init() { redis.Handle(greet) }.
func ExampleHandle() {
	greet := func(ctx context.Context, m redis.Message) error {
		c := redis.Dial(variables.Must("redis_address"))
		n, err := c.Incr(ctx, "greeted")
		if err != nil {
			return err
		}
		return c.Publish(ctx, "replies", fmt.Appendf(nil, "%d: hello %s", n, m.Payload))
	}

	hosttest.Reset()
	hosttest.SetVariable("redis_address", "redis://cache")
	if err := greet(context.Background(), redis.Message{Payload: []byte("Ada")}); err != nil {
		fmt.Println(err)
	}
	for _, p := range hosttest.Published() {
		fmt.Printf("%s: %s\n", p.Channel, p.Payload)
	}
	// Output: replies: 1: hello Ada
}

func ExampleClient_Execute() {
	hosttest.Reset()
	results, err := redis.Dial("redis://cache").Execute(context.Background(), "APPEND", "log", "line")
	fmt.Println(results, err)
	// Output: [4] <nil>
}
