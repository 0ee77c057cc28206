package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestRows(t *testing.T) {
	rows := [][]string{{"ok", "demo/hello", "3 ms"}, {"failed", "ü", "12 ms"}}
	for format, want := range map[string]string{
		"table": "  ok      demo/hello  3 ms\n  failed  ü           12 ms\n",
		"tsv":   "ok\tdemo/hello\t3 ms\nfailed\tü\t12 ms\n",
	} {
		var out bytes.Buffer
		if err := (screen{w: &out, format: format}).rows("  ", rows); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", format, out.String(), err, want)
		}
	}
}

// Colour takes no room in a column, and there is none without the wish for it.
func TestColour(t *testing.T) {
	var out bytes.Buffer
	s := screen{w: &out, format: "table", colour: true}
	if err := s.rows("", [][]string{{s.paint(green, "ok"), "a"}, {s.paint(red, "failed"), "b"}}); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[32mok\x1b[0m      a\n\x1b[31mfailed\x1b[0m  b\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	s.colour = false
	if got := s.paint(red, "failed"); got != "failed" {
		t.Errorf("%q", got)
	}
}

func TestScreenFormat(t *testing.T) {
	for asked, want := range map[string]string{"": "tsv", "table": "table", "json": "json", "ndjson": "ndjson", "tsv": "tsv"} {
		s, err := newScreen(io.Discard, asked)
		if err != nil || s.format != want || s.colour {
			t.Errorf("%q gives %+v, %v", asked, s, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"Grüße ☃ 日本":          "Grüße ☃ 日本",
		"a\tb\nc\rd":          `a\tb\nc\rd`,
		"\x1b[31mred\x1b[0m":  `\x1b[31mred\x1b[0m`,
		"\u009b31m":           `\u009b31m`, // the one-character form of ESC [
		"\u202egnp.exe":       `\u202egnp.exe`,
		"\xff\xfe":            `\xff\xfe`,
		"real \ufffd":         "real \ufffd",
		`quotes " ' \ remain`: `quotes " ' \ remain`,
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLastLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		" \n\n":                  "",
		"Hello, Ada\n":           `"Hello, Ada"`,
		"one\ntwo\r\n\n":         `"two"`,
		"one\n  two":             `"  two"`,
		"\x1b[2J":                `"\x1b[2J"`,
		strings.Repeat("ü", 60):  `"` + strings.Repeat("ü", 60) + `"`,
		strings.Repeat("ü", 61):  `"` + strings.Repeat("ü", 57) + `..."`,
		"\xff" + "binary\x00end": `"\xffbinary\x00end"`,
	} {
		if got := lastLine(in); got != want {
			t.Errorf("lastLine(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 14: "14 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 64 << 20: "64.0 MiB", 1 << 60: "1048576.0 TiB"} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %s, want %s", in, got, want)
		}
	}
	for in, want := range map[float64]string{0: "0 ms", 0.004: "0.00 ms", 0.42: "0.42 ms", 3.14: "3.1 ms", 41.4: "41 ms", 999: "999 ms", 1234: "1.2 s", 90000: "90.0 s"} {
		if got := millis(in); got != want {
			t.Errorf("millis(%v) = %s, want %s", in, got, want)
		}
	}
	if got := count(0, "handler") + count(1, "handler") + count(2, "handler"); got != "0 handlers1 handler2 handlers" {
		t.Error(got)
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]string{"": "0s", "50/s": "20ms", "50": "20ms", "0.5/s": "2s", "10/m": "6s", "4/h": "15m0s"} {
		if got, err := parseRate(in); err != nil || got.String() != want {
			t.Errorf("parseRate(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "-1/s", "x/s", "5/d", "/s", "NaN", "Inf", "1e-300/h", "1e7"} {
		if got, err := parseRate(in); err == nil {
			t.Errorf("parseRate(%q) = %v, want an error", in, got)
		}
	}
}
