package component

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// version is a semantic version (semver.org); a canonical one may leave out what does not matter for compatibility.
type version struct {
	numbers [3]uint64
	parts   int // numbers that are written
	pre     string
}

func checkVersion(s string) error {
	_, err := parseVersion(s)
	return err
}

// parseVersion reads `valid semver` or `canonversion`.
func parseVersion(s string) (version, error) {
	var v version
	if s == "" {
		return v, errors.New("empty string, expected a semantic version")
	}
	core, build, built := strings.Cut(s, "+")
	core, pre, pre2 := strings.Cut(core, "-")
	numbers := strings.Split(core, ".")
	if len(numbers) > 3 {
		return v, errors.New("unexpected character '.' after the patch number")
	}
	for i, n := range numbers {
		number, err := parseNumber(n)
		if err != nil {
			return v, err
		}
		v.numbers[i] = number
	}
	v.parts = len(numbers)
	v.pre = pre
	if pre2 {
		if err := identifiers(pre, true); err != nil {
			return v, fmt.Errorf("pre-release: %w", err)
		}
	}
	if built {
		if err := identifiers(build, false); err != nil {
			return v, fmt.Errorf("build metadata: %w", err)
		}
	}
	if v.parts < 3 {
		switch {
		case pre2 || built:
			return v, errors.New("unexpected end of input while parsing the version's numbers")
		case v.parts == 1 && v.numbers[0] == 0, v.parts == 2 && (v.numbers[0] != 0 || v.numbers[1] == 0):
			return v, errors.New("unexpected end of input, expected a semantic version or its canonical form")
		}
	}
	return v, nil
}

func parseNumber(s string) (uint64, error) {
	if s == "" {
		return 0, errors.New("unexpected end of input or character '.', expected a number")
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, fmt.Errorf("unexpected character %q, expected a number", s[i])
		}
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, errors.New("a number begins with 0")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errors.New("a number is too large")
	}
	return n, nil
}

func identifiers(s string, pre bool) error {
	for _, id := range strings.Split(s, ".") {
		if id == "" {
			return errors.New("empty identifier segment")
		}
		digits := true
		for i := range len(id) {
			c := id[i]
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-'
			if !letter && !isDigit(c) {
				return fmt.Errorf("unexpected character %q", c)
			}
			digits = digits && !letter
		}
		if pre && digits && len(id) > 1 && id[0] == '0' {
			return errors.New("a numeric identifier begins with 0")
		}
	}
	return nil
}

// canonical gives the part of a version on which compatibility depends: 1 of 1.2.3, 0.2 of 0.2.6, 0.0.1 of 0.0.1. It is "" for pre-releases, which
// are compatible with themselves alone.
func (v version) canonical() string {
	switch {
	case v.pre != "":
		return ""
	case v.numbers[0] != 0:
		return strconv.FormatUint(v.numbers[0], 10)
	case v.numbers[1] != 0:
		return "0." + strconv.FormatUint(v.numbers[1], 10)
	}
	return "0.0." + strconv.FormatUint(v.numbers[2], 10)
}

func (v version) less(o version) bool {
	for i, n := range v.numbers {
		if n != o.numbers[i] {
			return n < o.numbers[i]
		}
	}
	return false
}

// Compatible tells whether a host's interface of the name offered may serve an import of the name wanted: the same name, or the same interface in
// versions of one canonical form. Which functions there are is another question.
func Compatible(wanted, offered string) bool {
	if wanted == offered {
		return true
	}
	w, wv, ok := strings.Cut(wanted, "@")
	o, ov, ok2 := strings.Cut(offered, "@")
	if !ok || !ok2 || w != o {
		return false
	}
	a, err := parseVersion(wv)
	b, err2 := parseVersion(ov)
	return err == nil && err2 == nil && a.canonical() != "" && a.canonical() == b.canonical()
}

// Select gives the name among those offered that serves an import of the name wanted: that name itself, or the highest compatible version.
func Select(wanted string, offered []string) (name string, ok bool) {
	var best version
	for _, o := range offered {
		if o == wanted {
			return o, true
		}
		if !Compatible(wanted, o) {
			continue
		}
		_, text, _ := strings.Cut(o, "@")
		if v, _ := parseVersion(text); !ok || best.less(v) {
			name, best, ok = o, v, true
		}
	}
	return name, ok
}
