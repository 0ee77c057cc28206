package endpoint_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// changing is a credential that a test changes.
type changing struct {
	mu       sync.Mutex
	user     string
	version  atomic.Uint64
	refusals atomic.Int64
	next     string // the user after a refusal; "" has none
}

func (c *changing) login(context.Context) (string, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user, "word", nil
}

func (c *changing) become(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user = user
	c.version.Add(1)
}

func (c *changing) refused(_ context.Context, user, _ string) error {
	c.refusals.Add(1)
	if c.next == "" {
		return errors.New("there is no other")
	}
	c.become(c.next)
	return nil
}

func (c *changing) config(addr string) endpoint.Config {
	return endpoint.Config{Addresses: []string{addr}, Credentials: c.login, Refused: c.refused, Version: c.version.Load}
}

func users(t *testing.T) *redistest.Server {
	return redistest.Start(t, "--user", "one", "on", ">word", "~*", "&*", "+@all", "--user", "two", "on", ">word", "~*", "&*", "+@all")
}

func as(t *testing.T, c redis.UniversalClient) string {
	t.Helper()
	name, err := c.Do(t.Context(), "ACL", "WHOAMI").Text()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestVersion has commands go to sockets of the credential in force, while one that began before ends where it is.
func TestVersion(t *testing.T) {
	r := users(t)
	c := &changing{user: "one"}
	o, err := endpoint.New(c.config(r.Addr))
	if err != nil {
		t.Fatal(err)
	}
	client := o.Client(nil)
	if have := as(t, client); have != "one" {
		t.Fatalf("logged in as %q", have)
	}
	waiting := make(chan error)
	go func() { waiting <- client.BLPop(context.Background(), 0, "list").Err() }()
	watch := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer watch.Close()
	for blocked := ""; !strings.Contains(blocked, "cmd=blpop"); {
		blocked = watch.ClientList(t.Context()).Val()
	}
	c.become("two")
	if have := as(t, client); have != "two" {
		t.Fatalf("logged in as %q", have)
	}
	if _, err := client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.RPush(t.Context(), "list", "x")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatalf("the command that began before: %v", err)
	}
	for all := "user=one"; strings.Contains(all, "user=one"); { // its sockets are closed
		all = watch.ClientList(t.Context()).Val()
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); !errors.Is(err, redis.ErrClosed) {
		t.Fatalf("a closed client says %v", err)
	}
}

// TestRefused asks for another credential when the server does not know the one in force, once, for commands, pipelines and subscribers.
func TestRefused(t *testing.T) {
	r := users(t)
	for name, try := range map[string]func(o *endpoint.Options) error{
		"command": func(o *endpoint.Options) error {
			c := o.Client(nil)
			defer c.Close()
			return c.Ping(t.Context()).Err()
		},
		"pipeline": func(o *endpoint.Options) error {
			c := o.Client(nil)
			defer c.Close()
			_, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error { p.Ping(t.Context()); return nil })
			return err
		},
		"subscriber": func(o *endpoint.Options) error {
			s, err := o.Subscriber(t.Context())
			if err != nil {
				return err
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, next := range []string{"two", "nobody", ""} {
				c := &changing{user: "nobody", next: next}
				o, err := endpoint.New(c.config(r.Addr))
				if err != nil {
					t.Fatal(err)
				}
				err = try(o)
				switch {
				case next == "two" && err != nil:
					t.Errorf("with another credential: %v", err)
				case next == "nobody" && (err == nil || !strings.Contains(err.Error(), "WRONGPASS")):
					t.Errorf("with one that is as wrong: %v", err)
				case next == "" && (err == nil || !strings.Contains(err.Error(), "there is no other")):
					t.Errorf("without another: %v", err)
				}
				if n := c.refusals.Load(); n != 1 {
					t.Errorf("with next %q asked %d times", next, n)
				}
			}
		})
	}
}
