package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
)

// tuned puts what a component file says beside the address into how a server is reached.
func tuned(c *endpoint.Config, t *tenants.Tuning, keys tenants.LoginKeys) {
	c.SentinelUser, c.SentinelPassword = keys.SentinelUser, keys.SentinelPassword
	if t == nil {
		return
	}
	if c.TLS != nil {
		c.TLS.ServerName, c.TLS.Insecure = t.ServerName, t.Insecure
		if t.Certificate != "" {
			c.TLS.Cert, c.TLS.Key = []byte(t.Certificate), []byte(keys.ClientKey)
		}
	}
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = max(0, t.DialTimeout), max(0, t.ReadTimeout), max(0, t.WriteTimeout), max(0, t.PoolTimeout)
	c.PoolSize, c.MinIdle, c.MaxAge, c.IdleTimeout = t.PoolSize, t.MinIdle, max(0, t.MaxAge), t.IdleTimeout
}

// retrying says how a binding's operations are tried again: as its component file says, or as Dapr does where there is none.
func retrying(t *tenants.Tuning) binding.Retry {
	if t == nil {
		return binding.Retry{Times: 3, Min: 8 * time.Millisecond, Max: 512 * time.Millisecond}
	}
	return binding.Retry{Times: max(0, t.Retries), Min: t.MinBackoff, Max: t.MaxBackoff}
}

// addEntry adds an event to a stream as Dapr's pubsub.redis does (components-contrib pubsub/redis): the fields data and metadata.
func addEntry(ctx context.Context, c redis.UniversalClient, t *tenants.Tuning, topic string, data []byte, metadata map[string]string) error {
	add := redis.XAddArgs{Stream: topic, Approx: true, MaxLen: t.MaxLen, Values: []any{"data", data}}
	if t.MaxLen == 0 && t.StreamTTL > 0 {
		add.MinID = fmt.Sprintf("%d-1", time.Now().Add(-t.StreamTTL).UnixMilli())
	}
	if len(metadata) > 0 {
		b, err := json.Marshal(metadata)
		if err != nil {
			return err
		}
		add.Values = []any{"data", data, "metadata", b}
	}
	return c.XAdd(ctx, &add).Err()
}

// variableName is a secret's name among variables, whose names have letters, digits and underscores: name and key with one between them, or the
// name alone where both are the same.
func variableName(name, key string) string {
	if key != name {
		name += "_" + key
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.ToLower(name))
}
