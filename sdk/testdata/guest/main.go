// Guest is the SDK at work in a module: it runs the mode that the payload names, over the real ABI. The tests that build
// and run it live with the host, since the SDK has no Wasm runtime.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"

	"github.com/tenloom/tenloom/sdk/http"
	"github.com/tenloom/tenloom/sdk/kv"
	"github.com/tenloom/tenloom/sdk/redis"
	"github.com/tenloom/tenloom/sdk/variables"
)

func init() { redis.Handle(handle) }

func main() {}

func handle(ctx context.Context, m redis.Message) error {
	mode, argument, _ := strings.Cut(string(m.Payload), " ")
	switch mode {
	case "message":
		fmt.Printf("%s|%s|%s|%d|%s\n", m.Channel(), m.Pattern(), m.ID(), m.Attempt(), m.TraceParent())
		return nil
	case "redis":
		return commands(ctx, redis.Dial(variables.Must("redis_address")))
	case "large":
		return large(ctx, redis.Dial(variables.Must("redis_address")))
	case "refused":
		_, err := redis.Dial("redis://refused.example").Incr(ctx, "key")
		if !errors.Is(err, redis.ErrFailed) {
			return fmt.Errorf("incr on a refused host: %v", err)
		}
		return nil
	case "variables":
		_, undefined := variables.Get("nobody_set_this")
		_, invalid := variables.Get("Not A Name")
		fmt.Println(errors.Is(undefined, variables.ErrUndefined), errors.Is(invalid, variables.ErrInvalidName))
		return nil
	case "kv":
		return store()
	case "http":
		return request(argument)
	case "panic":
		var none []int
		fmt.Println(none[len(argument)])
	case "error":
		return errors.New("first line\nsecond line")
	case "exit":
		os.Exit(3)
	case "length":
		fmt.Println(len(m.Payload))
		return nil
	}
	return fmt.Errorf("no mode %q", mode)
}

func commands(ctx context.Context, c *redis.Client) error {
	text := func(v any, err error) {
		if err != nil {
			v = err
		}
		fmt.Printf("%v ", v)
	}
	text(c.Del(ctx, "text", "count", "set", "int"))
	text("set", c.Set(ctx, "text", []byte("hello")))
	value, err := c.Get(ctx, "text")
	text(string(value), err)
	value, err = c.Get(ctx, "missing")
	text(value == nil, err)
	text(c.Incr(ctx, "count"))
	text(c.Incr(ctx, "text"))
	// Members whose bytes live on no heap but this one, made one by one.
	members := make([]string, 3)
	for i := range members {
		members[i] = string(append([]byte("member-"), byte('a'+i)))
	}
	text(c.SAdd(ctx, "set", members...))
	text(c.SRem(ctx, "set", "member-b"))
	members, err = c.SMembers(ctx, "set")
	sort.Strings(members)
	text(members, err)
	text(c.Execute(ctx, "SET", "int", -7))
	text(c.Execute(ctx, "GET", []byte("int")))
	text(c.Execute(ctx, "INCRBY", "int", uint8(9)))
	text(c.Execute(ctx, "GET", "missing"))
	text(c.Execute(ctx, "MGET", "text", "missing", "int"))
	text(c.Execute(ctx, "PING", 1.5))
	text("published", c.Publish(ctx, "out", []byte("from Go")))
	fmt.Println()
	return nil
}

// large makes the host allocate much while the guest waits, with collections between.
func large(ctx context.Context, c *redis.Client) error {
	want := bytes.Repeat([]byte("0123456789"), 20000)
	for i := range 20 {
		if err := c.Set(ctx, "large", want); err != nil {
			return err
		}
		got, err := c.Get(ctx, "large")
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("round %d: got %d other bytes", i, len(got))
		}
		runtime.GC()
	}
	if _, err := c.Del(ctx, "many"); err != nil {
		return err
	}
	members := make([]string, 5000)
	for i := range members {
		members[i] = fmt.Sprint("member ", i)
	}
	if n, err := c.SAdd(ctx, "many", members...); err != nil || n != 5000 {
		return fmt.Errorf("added %d members: %v", n, err)
	}
	got, err := c.SMembers(ctx, "many")
	if err != nil {
		return err
	}
	sort.Strings(got)
	sort.Strings(members)
	if strings.Join(got, ",") != strings.Join(members, ",") {
		return fmt.Errorf("%d members came back otherwise", len(got))
	}
	fmt.Println("large ok")
	return nil
}

func store() error {
	if _, err := kv.Open("not-granted"); err == nil {
		return errors.New("opened a store that was not granted")
	} else {
		fmt.Println(errors.Is(err, kv.ErrAccessDenied), errors.Is(err, kv.ErrNoSuchStore))
	}
	s, err := kv.Open("default")
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Set("key", []byte("value")); err != nil {
		return err
	}
	value, err := s.Get("key")
	if err != nil {
		return err
	}
	keys, err := s.Keys()
	if err != nil {
		return err
	}
	there, err := s.Exists("key")
	if err != nil {
		return err
	}
	if err := s.Delete("key"); err != nil {
		return err
	}
	_, gone := s.Get("key")
	fmt.Println(string(value), keys, there, errors.Is(gone, kv.ErrNoSuchKey))
	return nil
}

func request(url string) error {
	response, err := http.Do(http.Request{Method: "POST", URL: url, Header: http.Header{{Name: "X-Question", Value: "why"}}, Body: []byte("body")})
	if err != nil {
		return err
	}
	fmt.Println(response.Status, response.Header.Get("x-answer"), string(response.Body))
	_, err = http.Do(http.Request{URL: "https://refused.example/path?key=secret"})
	fmt.Println(err)
	return nil
}
