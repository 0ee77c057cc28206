package tenants_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

func TestULIDText(t *testing.T) {
	// The first row is the example of the ULID specification; the others are the ends of its range.
	rows := []struct {
		text string
		id   tenants.ULID
	}{
		{"01ARZ3NDEKTSV4RRFFQ69G5FAV", tenants.ULID{0x01, 0x56, 0x3e, 0x3a, 0xb5, 0xd3, 0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b}},
		{"00000000000000000000000000", tenants.ULID{}},
		{"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", tenants.ULID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	}
	for _, row := range rows {
		if got := row.id.String(); got != row.text {
			t.Errorf("String() = %s, want %s", got, row.text)
		}
		got, err := tenants.ParseULID(row.text)
		if err != nil || got != row.id {
			t.Errorf("ParseULID(%s) = %x, %v, want %x", row.text, got, err, row.id)
		}
	}
}

func TestParseULIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVV",
		"8ZZZZZZZZZZZZZZZZZZZZZZZZZ", // one bit too many
		"01ARZ3NDEKTSV4RRFFQ69G5FAU", // U is not in Crockford's alphabet
		"01arz3ndektsv4rrffq69g5fav", "/1ARZ3NDEKTSV4RRFFQ69G5FAV", "é1ARZ3NDEKTSV4RRFFQ69G5FA",
	} {
		if id, err := tenants.ParseULID(text); err == nil {
			t.Errorf("ParseULID(%q) = %s, want an error", text, id)
		}
	}
	if _, err := tenants.ParseULID(strings.Repeat("x", 1<<20)); len(err.Error()) > 200 {
		t.Errorf("the error repeats %d bytes of its input", len(err.Error()))
	}
}

func TestPrefixes(t *testing.T) {
	id, err := tenants.ParseULID("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if err != nil {
		t.Fatal(err)
	}
	if got := tenants.MessageID(id).String(); got != "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV" {
		t.Error(got)
	}
	if got := tenants.InvocationID(id).String(); got != "inv_01ARZ3NDEKTSV4RRFFQ69G5FAV" {
		t.Error(got)
	}
}

func TestNextCarriesItsTime(t *testing.T) {
	at := time.UnixMilli(0x01563e3ab5d3)
	var ids tenants.ULIDs
	if got := ids.Next(at).String(); !strings.HasPrefix(got, "01ARZ3NDEK") {
		t.Errorf("Next(%v) = %s, want the timestamp 01ARZ3NDEK", at, got)
	}
}

// The clock stands still, goes back, is before 1970, or not set at all: ids still grow, as text and as bytes, and two sources differ.
func TestNextGrows(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	for name, times := range map[string][]time.Time{
		"still": {now, now, now},
		"back":  {now, now.Add(-time.Hour), now.Add(time.Millisecond), now},
		"old":   {time.Unix(-5, 0), time.Unix(-4, 0), now},
		"unset": {{}, {}, {}},
	} {
		var ids, others tenants.ULIDs
		last := ids.Next(times[0])
		if last == others.Next(times[0]) {
			t.Errorf("%s: two sources gave the same id %s", name, last)
		}
		for _, at := range times[1:] {
			next := ids.Next(at)
			if slices.Compare(next[:], last[:]) <= 0 || next.String() <= last.String() {
				t.Errorf("%s: %s after %s", name, next, last)
			}
			last = next
		}
	}
}

func TestNextHammer(t *testing.T) {
	const workers, each = 8, 2000
	var ids tenants.ULIDs
	got := make([][]tenants.ULID, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				got[w] = append(got[w], ids.Next(time.Now()))
			}
		})
	}
	wg.Wait()
	seen := make(map[tenants.ULID]bool, workers*each)
	for w := range got {
		for i, id := range got[w] {
			if seen[id] {
				t.Fatalf("%s given out twice", id)
			}
			seen[id] = true
			if i > 0 && slices.Compare(id[:], got[w][i-1][:]) <= 0 {
				t.Fatalf("worker %d got %s after %s", w, id, got[w][i-1])
			}
		}
	}
}

func FuzzULID(f *testing.F) {
	f.Add("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	f.Add("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
	f.Add("8ZZZZZZZZZZZZZZZZZZZZZZZZZ")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := tenants.ParseULID(s)
		if err == nil && id.String() != s {
			t.Errorf("ParseULID(%q).String() = %q", s, id)
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "7", "demo", "order-mailer", "a--b", strings.Repeat("x", 63)} {
		if err := tenants.CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                      "a name must not be empty",
		strings.Repeat("x", 64): `name "xxxxxxxxxxxxxxxxxxxx"... has 64 characters, at most 63 are allowed`,
		"-a":                    `name "-a" may hold a-z, 0-9 and inner "-" only; got '-'`,
		"a-":                    `name "a-" may hold a-z, 0-9 and inner "-" only; got '-'`,
		"Demo":                  `name "Demo" may hold a-z, 0-9 and inner "-" only; got 'D'`,
		"a_b":                   `name "a_b" may hold a-z, 0-9 and inner "-" only; got '_'`,
		"a.b":                   `name "a.b" may hold a-z, 0-9 and inner "-" only; got '.'`,
		"zoë":                   `name "zoë" may hold a-z, 0-9 and inner "-" only; got 'ë'`,
		"a/b":                   `name "a/b" may hold a-z, 0-9 and inner "-" only; got '/'`,
	} {
		if err := tenants.CheckName(name); err == nil || err.Error() != want {
			t.Errorf("CheckName(%q) = %v, want %s", name, err, want)
		}
	}
}
