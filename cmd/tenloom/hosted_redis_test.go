package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

// TestOwnNames: whatever a handler sends to a server that tenants share, it names nothing but its own tenant's, or is refused.
func TestOwnNames(t *testing.T) {
	grants := tenants.DefaultGrants()
	grants.Channels = []string{"raw"}
	own := ownNames{"acme", func() tenants.Grants { return grants }}
	for _, row := range []struct{ sent, want string }{
		{"PUBLISH orders x", "PUBLISH acme:orders x"},
		{"PUBLISH acme:orders x", "PUBLISH acme:orders x"},
		{"PUBLISH umbrella:orders x", "PUBLISH acme:umbrella:orders x"},
		{"PUBLISH raw x", "PUBLISH raw x"},
		{"GET k", "GET acme:k"},
		{"get umbrella:k", "get acme:umbrella:k"},
		{"SET k v EX 10", "SET acme:k v EX 10"},
		{"DEL a b c", "DEL acme:a acme:b acme:c"},
		{"MSET a 1 b 2", "MSET acme:a 1 acme:b 2"},
		{"SADD s a b", "SADD acme:s a b"},
		{"HSET h f v", "HSET acme:h f v"},
		{"PING", "PING"},
		{"KEYS *", "not offered"},
		{"SCAN 0", "not offered"},
		{"EVAL return 0", "not offered"},
		{"FLUSHALL", "not offered"},
		{"CONFIG GET *", "not offered"},
		{"SUBSCRIBE umbrella:orders", "not offered"},
		{"RENAME a umbrella:b", "not offered"},
		{"SELECT 1", "not offered"},
		{"AUTH x", "not offered"},
		{"MULTI", "not offered"},
		{"SORT a STORE b", "not offered"},
		{"", ""},
	} {
		var args []any
		for _, word := range strings.Fields(row.sent) {
			args = append(args, word)
		}
		err := own.rename(args)
		got := strings.TrimSuffix(fmt.Sprintln(args...), "\n")
		if err != nil {
			got = err.Error()
		}
		if got != row.want && !(err != nil && strings.Contains(got, row.want)) {
			t.Errorf("%s: %s, want %s", row.sent, got, row.want)
		}
	}
	if err := own.rename([]any{"GET", 3}); err == nil {
		t.Error("a key that is no text was let through")
	}
	key := []any{"get", []byte("k")}
	if err := own.rename(key); err != nil || key[1] != "acme:k" {
		t.Errorf("%v %v", key, err)
	}
}
