// Go-counter counts the messages of each channel in Redis and answers each message on channel "count.replies".
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenloom/tenloom/sdk/redis"
	"github.com/tenloom/tenloom/sdk/variables"
)

func init() { redis.Handle(count) }

func count(ctx context.Context, m redis.Message) error {
	if len(m.Payload) == 0 {
		return errors.New("an empty message is not counted")
	}
	client := redis.Dial(variables.Must("redis_address"))
	n, err := client.Incr(ctx, "counted:"+m.Channel())
	if err != nil {
		return err
	}
	reply := fmt.Sprintf("%d: %s %s", n, variables.Must("greeting"), m.Payload)
	fmt.Println(reply)
	return client.Publish(ctx, "count.replies", []byte(reply))
}

func main() {} // the host calls the init functions, never main
