package scheduler_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// globs are the cases of Redis' matcher (util.c, stringmatchlen_impl), in its order.
var globs = []struct {
	pattern, s string
	want       bool
}{
	{"", "", true}, {"", "a", false}, {"*", "", false}, {"*", "abc", true}, {"**", "abc", true},
	{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"ab", "a", false},
	{"?", "a", true}, {"?", "", false}, {"??", "a", false}, {"h?llo", "hello", true},
	{"h*llo", "hllo", true}, {"h*llo", "heeeello", true}, {"h*llo", "heeeell", false},
	{"orders:*", "orders:new", true}, {"orders:*", "orders:", true}, {"orders:*", "orders", false},
	{"*a*b*c*", "xaybzc", true}, {"*a*b*c*", "xaybz", false}, {"*abc", "ababc", true}, {"*aab", "aaaab", true},
	{"[abc]", "b", true}, {"[abc]", "d", false}, {"[^abc]", "d", true}, {"[^abc]", "a", false}, {"[a-c]x", "bx", true},
	{"[c-a]", "b", true}, {"[a-c", "b", true}, {"[", "[", false}, {"[]", "a", false}, {"[^]", "a", true}, {`[\]]`, "]", true},
	{`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, true}, {`\a`, "a", true}, {"*[ab]*\\*", "xxbyy*", true},
	{"a*[x-z]?", "abcy!", true}, {"*?", "", false}, {"*?", "a", true},
	// Stars: several count as one; one at the end matches the rest; one before needs a place where the rest matches.
	{"***", "", false}, {"a**", "a", true}, {"a***b", "ab", true}, {"*a", "aaab", false}, {"a*b*c", "abbbc", true}, {"a*b*c", "acb", false}, {"*", "\x00\xff", true},
	// A question mark is one byte, not one character.
	{"?", "é", false}, {"??", "é", true}, {"a?", "a", false}, {"?a", "a", false},
	// Classes: members, ranges either way, negation, escapes; a "]" ends one even at its beginning; "-" at an end is itself.
	{"[a]", "a", true}, {"[a]", "", false}, {"[^a]", "", false}, {"[^a-c]", "b", false}, {"[^a-c]", "d", true}, {"[^c-a]", "b", false}, {"[a-]", "-", false}, {"[a-]", "_", true}, {"[a-]", "a", true}, // a range up to "]"

	{"[-a]", "-", true}, {"[a-a]", "a", true}, {"[]a]", "a]", false}, {"[]a]", "]", false}, {"[^]a]", "xa]", true}, {"[^^]", "^", false}, {"[a^]", "^", true}, {"[!a]", "!", true},
	{`[\]a]`, "a", true}, {`[\^a]`, "^", true}, {`[^\]]`, "a", true}, {`[^\]]`, "]", false}, {`[\-a]`, "-", true}, {`[a\-z]`, "m", false}, {`[a\-z]`, "-", true}, {`[\\]`, `\`, true},
	{"[a-z]*[0-9]", "foo7", true}, {"[*]", "*", true}, {"[*]", "a", false}, {"[?]", "?", true}, {"[?]", "a", false}, {"[[]", "[", true}, {"[\x00-\x1f]", "\x07", true}, {"[\x80-\xff]", "\xe9", true},
	// Classes that are not closed end with the pattern.
	{"[a", "a", true}, {"[a", "b", false}, {"[^a", "b", true}, {"[^", "a", true}, {"[ab", "b", true}, {"[a-", "-", true}, {"[a-", "a", true}, {`[\`, `\`, true}, {`[a\`, `\`, true}, {"x[", "x", false}, {"x[", "xy", false},
	// Escapes.
	{`\?`, "?", true}, {`\?`, "a", false}, {`\[a]`, "[a]", true}, {`\[a]`, "a", false}, {`\\`, `\`, true}, {`\`, `\`, true}, {`\`, "", false}, {`a\b`, "ab", true}, {`*\`, `x\`, true}, {`\**`, "*a", true},
	{"A", "a", false}, {"[A-Z]", "a", false},
	// What takes exponential time in a matcher that tries everything.
	{strings.Repeat("a*", 30) + "b", strings.Repeat("a", 200), false}, {strings.Repeat("*a", 40), strings.Repeat("a", 300), true},
	{strings.Repeat("*a", 1000), strings.Repeat("a", 1200), true}, {strings.Repeat("*a", 1001), strings.Repeat("a", 1200), false},
	{strings.Repeat("*a", 1000) + "*", strings.Repeat("a", 1200), true}, {strings.Repeat("*a", 1000) + "*b", strings.Repeat("a", 1000) + "b", false},
	{strings.Repeat("*?", 100), strings.Repeat("a", 100), true}, {strings.Repeat("*?", 101), strings.Repeat("a", 100), false},
}

func TestMatch(t *testing.T) {
	for _, c := range globs {
		if got := scheduler.Match(c.pattern, c.s); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.s, got)
		}
		if got := scheduler.Match(c.pattern, []byte(c.s)); got != c.want {
			t.Errorf("Match(%q, []byte(%q)) = %v", c.pattern, c.s, got)
		}
	}
}

// TestMatchAsPublished holds each case against what a Redis server does with it: a message on the channel comes for the pattern, or does not.
func TestMatchAsPublished(t *testing.T) {
	client := redistest.Start(t).Client()
	ctx := context.Background()
	for _, c := range globs {
		sub := client.PSubscribe(ctx, c.pattern)
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatalf("subscribe to %q: %v", c.pattern, err)
		}
		n, err := client.Publish(ctx, c.s, "x").Result()
		if err != nil || n > 0 != c.want {
			t.Errorf("a message on %q came to %d subscribers of %q, %v; want %v", c.s, n, c.pattern, err, c.want)
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		for n > 0 { // until the server knows
			if n, err = client.PubSubNumPat(ctx).Result(); err != nil {
				t.Fatal(err)
			}
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
