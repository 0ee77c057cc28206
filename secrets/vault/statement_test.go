package vault_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestStatements has a Redis make users of the statements: each may subscribe to all that it is for and to nothing of others, and none may do harm
// to the server.
func TestStatements(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, "--requirepass", "root")
	root := redis.NewClient(&redis.Options{Addr: r.Addr, Password: "root"})
	t.Cleanup(func() { root.Close() })
	const control = "__tenloom:"
	for name, row := range map[string]struct {
		statement                          string
		channels, patterns, sharded        []string
		noChannels, noPatterns, allowedKey []string
		noKey                              []string
	}{
		"shared": {vault.Statement("acme", control, []string{"acme:orders:*", "acme:[ab]?", "events"}),
			[]string{"acme:x", "acme:", control + "beat", "events"}, []string{"acme:*", "acme:orders:*", "acme:[ab]?", control + "*"}, []string{"acme:x"},
			[]string{"umbrella:x", "acmex", "other", "event"}, []string{"*", "umbrella:*", "acme:o*", "events*"},
			[]string{"acme:k", "tenloom:kv:acme/s"}, []string{"umbrella:k", "k", "tenloom:kv:umbrella/s"}},
		"own": {vault.OwnStatement(control, []string{"orders", "bills:*"}),
			[]string{"orders", control + "beat", "bills:1"}, []string{"bills:*", control + "*"}, []string{"orders"},
			[]string{"other", "orders:1"}, []string{"*", "orders*", "b*"}, []string{"k", "any:k"}, nil},
		"own, of all": {vault.OwnStatement(control, nil), []string{"orders", control + "x"}, []string{"*", "o*"}, []string{"orders"}, nil, nil, []string{"k"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if faults := vault.CheckStatement([]string{row.statement}); faults != nil {
				t.Errorf("%v", faults)
			}
			var rules []string
			if err := json.Unmarshal([]byte(row.statement), &rules); err != nil {
				t.Fatal(err)
			}
			args := []any{"ACL", "SETUSER", "one", "reset", "ON", ">pw"}
			for _, rule := range rules {
				args = append(args, rule)
			}
			if err := root.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
			user := redis.NewClient(&redis.Options{Addr: r.Addr, Username: "one", Password: "pw", DisableIdentity: true})
			defer user.Close()
			may := func(allowed bool, args ...any) {
				t.Helper()
				err := user.Do(t.Context(), args...).Err()
				if refused := err != nil && strings.Contains(err.Error(), "NOPERM"); refused == allowed || err != nil && !refused {
					t.Errorf("%v: %v, want it allowed: %v", args, err, allowed)
				}
			}
			each := func(allowed bool, command string, names []string, more ...any) {
				t.Helper()
				for _, name := range names {
					may(allowed, append([]any{command, name}, more...)...)
				}
			}
			each(true, "PUBLISH", row.channels, "x")
			each(false, "PUBLISH", row.noChannels, "x")
			each(true, "SET", row.allowedKey, "x")
			each(false, "SET", row.noKey, "x")
			for _, command := range [][]any{{"FLUSHALL"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"KEYS", "*"}, {"CLIENT", "LIST"}} {
				may(false, command...)
			}
			subscribes := func(allowed bool, how func(p *redis.PubSub, name string) error, names []string) {
				t.Helper()
				for _, name := range names {
					p := user.Subscribe(t.Context())
					err := how(p, name)
					if err == nil {
						_, err = p.Receive(t.Context())
					}
					p.Close()
					if refused := err != nil && strings.Contains(err.Error(), "NOPERM"); refused == allowed || err != nil && !refused {
						t.Errorf("to subscribe to %q: %v, want it allowed: %v", name, err, allowed)
					}
				}
			}
			channel := func(p *redis.PubSub, name string) error { return p.Subscribe(t.Context(), name) }
			pattern := func(p *redis.PubSub, name string) error { return p.PSubscribe(t.Context(), name) }
			shard := func(p *redis.PubSub, name string) error { return p.SSubscribe(t.Context(), name) }
			subscribes(true, channel, row.channels)
			subscribes(false, channel, row.noChannels)
			subscribes(true, pattern, row.patterns)
			subscribes(false, pattern, row.noPatterns)
			subscribes(true, shard, row.sharded)
			subscribes(false, shard, row.noChannels)
		})
	}
}
