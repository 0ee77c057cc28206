package tenants_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

func TestParsePointer(t *testing.T) {
	for text, want := range map[string]string{
		"/a":                           "",
		"/":                            "",
		"/a~1b/~0x":                    "",
		"/0/1":                         "",
		"":                             `a JSON pointer begins with "/"; got ""`,
		"a":                            `a JSON pointer begins with "/"; got "a"`,
		"/a~2":                         `in a pointer "~" is written "~0" and "/" within a name "~1"; got "a~2"`,
		"/~":                           `in a pointer "~" is written "~0" and "/" within a name "~1"; got "~"`,
		"/\xff":                        "a pointer must be UTF-8",
		"/" + strings.Repeat("x", 256): "a pointer of 257 bytes is too long, at most 256 are allowed",
		strings.Repeat("/x", 9):        `pointer "/x/x/x/x/x/x/x/x/x" has more than 8 steps`,
		strings.Repeat("/x", 8):        "",
	} {
		p, err := tenants.ParsePointer(text)
		switch {
		case want == "" && (err != nil || p.String() != text):
			t.Errorf("ParsePointer(%q): %v", text, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("ParsePointer(%q): %v, want %s", text, err, want)
		}
	}
}

// TestFind has the examples of RFC 6901 section 5 first, then what is no JSON, not there, or beyond the bounds ("-").
func TestFind(t *testing.T) {
	const rfc = `{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}`
	long := strings.Repeat("x", tenants.MaxSearch)
	for _, row := range [][3]string{
		{"/foo", rfc, `["bar", "baz"]`}, {"/foo/0", rfc, `"bar"`}, {"/", rfc, "0"}, {"/a~1b", rfc, "1"}, {"/c%d", rfc, "2"},
		{"/e^f", rfc, "3"}, {"/g|h", rfc, "4"}, {`/i\j`, rfc, "5"}, {`/k"l`, rfc, "6"}, {"/ ", rfc, "7"}, {"/m~0n", rfc, "8"},
		{"/foo/2", rfc, "-"}, {"/foo/00", rfc, "-"}, {"/foo/-", rfc, "-"}, {"/foo/x", rfc, "-"}, {"/bar", rfc, "-"}, {"/a~1b/c", rfc, "-"},
		{"/a", ` { "x" : { "a" : [ 1 , "}" , null ] } , "a" : -1.5e+3 } trailing`, "-1.5e+3"},
		{"/x/a", ` { "x" : { "a" : [ 1 , "}" , null ] } , "a" : -1.5e+3 }`, `[ 1 , "}" , null ]`},
		{"/1/b", `[{"b":1},{"b":true}]`, "true"},
		{"/ä\U0001f600", "{\"\\u00E4\\ud83d\\ude00\":null}", "null"},
		{"/\n", `{"\n":"\"\\"}`, `"\"\\"`},
		{"/a", `{"a":1,"a":2}`, "1"},
		{"/a", `{"b":"\u00`, "-"}, {"/a", `{"a":`, "-"}, {"/a", `{"a"`, "-"}, {"/a", `{"a":tru}`, "-"}, {"/a", `{"a":}`, "-"}, {"/a", `{"b":x,"a":1}`, "-"},
		{"/a", "", "-"}, {"/a", "a", "-"}, {"/a", "\x00\xff", "-"}, {"/a", `"a"`, "-"}, {"/a", `{"b":{"a":1}}`, "-"}, {"/0", "[", "-"}, {"/0", "[]", "-"},
		{"/a", `{"a":"` + long + `"}`, "-"}, {"/a", `{"b":"` + long + `","a":1}`, "-"}, {"/a", `{"a":1,"b":"` + long + `"}`, "1"},
		{"/a", strings.Repeat(" ", tenants.MaxSearch-6) + `{"a":12`, "-"},
		{"/a", `{"b":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `,"a":1}`, "1"},
	} {
		p, err := tenants.ParsePointer(row[0])
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.Find([]byte(row[1]))
		if want := row[2]; ok != (want != "-") || ok && string(got) != want {
			t.Errorf("%s in %.60q is %q, %v, want %s", row[0], row[1], got, ok, want)
		}
	}
}

// TestFindAgainstJSON holds Find against encoding/json on generated documents.
func TestFindAgainstJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	names := []string{"a", "b", "a/b", "m~n", "ä", "\"", "0", "1"}
	var value func(depth int) any
	value = func(depth int) any {
		switch n := r.IntN(8); {
		case n < 3 && depth < 4:
			m := map[string]any{}
			for range r.IntN(4) {
				m[names[r.IntN(len(names))]] = value(depth + 1)
			}
			return m
		case n < 5 && depth < 4:
			all := []any{}
			for range r.IntN(4) {
				all = append(all, value(depth+1))
			}
			return all
		}
		return []any{nil, true, false, "text \\ \" ü \u2028", 1.5, -3e20, ""}[r.IntN(7)]
	}
	for range 20_000 {
		document := value(0)
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		pointer, want, found := "", document, true
		for range 1 + r.IntN(3) {
			name := names[r.IntN(len(names))]
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
			switch v := want.(type) {
			case map[string]any:
				want, found = v[name], found && has(v, name)
			case []any:
				var i int
				if _, err := fmt.Sscan(name, &i); err != nil || i >= len(v) {
					want, found = nil, false
				} else {
					want = v[i]
				}
			default:
				want, found = nil, false
			}
		}
		p, err := tenants.ParsePointer(pointer)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.Find(text)
		if ok != found {
			t.Fatalf("%s in %s: found %v, want %v", pointer, text, ok, found)
		}
		if is, _ := json.Marshal(want); ok && string(got) != string(is) {
			t.Fatalf("%s in %s is %s, want %s", pointer, text, got, is)
		}
	}
}

func has(m map[string]any, name string) bool {
	_, ok := m[name]
	return ok
}

func FuzzPointer(f *testing.F) {
	f.Add("/a/0", `{"a":["\u0061",{"b":1}]}`)
	f.Add("/a~1b", `{"a/b":-1.5e3}`)
	f.Fuzz(func(t *testing.T, pointer, document string) {
		p, err := tenants.ParsePointer(pointer)
		if err != nil {
			return
		}
		got, ok := p.Find([]byte(document))
		if ok && json.Valid([]byte(document)) && !json.Valid(got) {
			t.Errorf("%s in %q is %q", pointer, document, got)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	p, err := tenants.ParsePointer("/order/customer")
	if err != nil {
		b.Fatal(err)
	}
	document := []byte(`{"id":"0199","at":"2026-11-21T05:00:00Z","order":{"lines":[{"sku":"a","n":1},{"sku":"b","n":2}],"customer":"c-1234"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Find(document); !ok {
			b.Fatal("not found")
		}
	}
}
