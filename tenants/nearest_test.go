package tenants_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

func TestNear(t *testing.T) {
	known := []string{"greetings", "greeting", "orders", "orders:eu", "a"}
	for name, want := range map[string][]string{
		"greetngs":    {"greetings", "greeting"},
		"greetings2":  {"greetings", "greeting"},
		"greetingz":   {"greetings", "greeting"},
		"order":       {"orders"},
		"rodesr":      {"orders"}, // two swaps
		"orders:us":   {"orders:eu"},
		"orders:eu":   {"orders:eu"},
		"b":           {"a"},
		"":            {"a"},
		"xyz":         nil,
		"something":   nil,
		"GREETINGS!!": nil,
	} {
		if got := tenants.Near(name, known, 3); !slices.Equal(got, want) {
			t.Errorf("Near(%q) = %q, want %q", name, got, want)
		}
		got, ok := tenants.Nearest(name, known)
		if ok != (want != nil) || ok && got != want[0] {
			t.Errorf("Nearest(%q) = %q, %v, want the first of %q", name, got, ok, want)
		}
	}
	if got := tenants.Near("greetngs", known, 1); !slices.Equal(got, []string{"greetings"}) {
		t.Errorf("the nearest one alone is %q", got)
	}
	if got := tenants.Near("greetngs", known, 0); len(got) != 0 {
		t.Errorf("none was asked for, got %q", got)
	}
}

// One edit is allowed to a short name, and one for each three bytes to a longer one.
func TestNearWithinAThird(t *testing.T) {
	for _, row := range []struct {
		name, known string
		near        bool
	}{
		{"ba", "ab", true}, {"cd", "ab", false},
		{"abcdeX", "abcdef", true}, {"abcdXX", "abcdef", true}, {"abcXXX", "abcdef", false},
		{"abdcfe", "abcdef", true}, {"badcfe", "abcdef", false},
		{"kitten", "sitting", false}, {"sittn", "sitting", true},
	} {
		if _, near := tenants.Nearest(row.name, []string{row.known}); near != row.near {
			t.Errorf("%q is near %q: %v, want %v", row.name, row.known, near, row.near)
		}
	}
}

// Long names are compared where they differ: their length costs nothing, and they are near where the difference is small.
func TestNearOfLongNames(t *testing.T) {
	long := strings.Repeat("tenant:", 10_000)
	if got, ok := tenants.Nearest(long+"ordres"+long, []string{long + "orders" + long}); !ok || got != long+"orders"+long {
		t.Error("two long names that differ by a swap are not near")
	}
	if _, ok := tenants.Nearest(strings.Repeat("a", 1000), []string{strings.Repeat("b", 1000)}); ok {
		t.Error("two long names that have nothing in common are near")
	}
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprintf("%c%s%d", 'a'+i%26, strings.Repeat("x", 200), i)
	}
	if got := tenants.Near(strings.Repeat("y", 200), many, 3); len(got) != 0 {
		t.Errorf("near: %.100q", got)
	}
}

// TestNearAgainstModel holds the bounded comparison against the plain table of all distances.
func TestNearAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, random.IntN(12))
		for i := range b {
			b[i] = "abc"[random.IntN(3)]
		}
		return string(b)
	}
	for range 20_000 {
		name, known := word(), word()
		_, got := tenants.Nearest(name, []string{known})
		if want := distance(name, known) <= max(1, len(known)/3); got != want {
			t.Fatalf("%q is near %q: %v, but their distance is %d", name, known, got, distance(name, known))
		}
	}
}

func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			default:
				d[i][j] = 1 + min(d[i-1][j-1], d[i-1][j], d[i][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
