package scheduler_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"**", "abc", true},
		{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"ab", "a", false},
		{"?", "a", true}, {"?", "", false}, {"??", "a", false}, {"h?llo", "hello", true},
		{"h*llo", "hllo", true}, {"h*llo", "heeeello", true}, {"h*llo", "heeeell", false},
		{"orders:*", "orders:new", true}, {"orders:*", "orders:", true}, {"orders:*", "orders", false},
		{"*a*b*c*", "xaybzc", true}, {"*a*b*c*", "xaybz", false}, {"*abc", "ababc", true}, {"*aab", "aaaab", true},
		{"[abc]", "b", true}, {"[abc]", "d", false}, {"[^abc]", "d", true}, {"[^abc]", "a", false}, {"[a-c]x", "bx", true},
		{"[c-a]", "b", true}, {"[a-c", "b", true}, {"[", "[", false}, {"[]", "a", false}, {"[^]", "a", true}, {`[\]]`, "]", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, true}, {`\a`, "a", true}, {"*[ab]*\\*", "xxbyy*", true},
		{"a*[x-z]?", "abcy!", true}, {"*?", "", false}, {"*?", "a", true},
	} {
		if got := scheduler.Match(c.pattern, c.s); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// TestMatchAsRedis holds random patterns against what a Redis server answers: KEYS uses the same matcher as PSUBSCRIBE.
func TestMatchAsRedis(t *testing.T) {
	client := redistest.Start(t).Client()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet string, n int) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	var names []string
	for range 60 {
		name := "k" + text(`ab-]\*`, 6)
		names = append(names, name)
		if err := client.Set(ctx, name, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3000 {
		pattern := "k" + text(`ab*?[]^-\`, 9)
		keys, err := client.Keys(ctx, pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		matched := map[string]bool{}
		for _, k := range keys {
			matched[k] = true
		}
		for _, name := range names {
			if got := scheduler.Match(pattern, name); got != matched[name] {
				t.Fatalf("Match(%q, %q) = %v, Redis says %v", pattern, name, got, matched[name])
			}
		}
	}
}
