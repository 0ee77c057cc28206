package component

import (
	"fmt"
	"strings"
)

// externName is a name of an import or export, taken apart.
type externName struct {
	annotation string // "constructor", "method", "static", "" for none
	resource   string // the label before the dot, or of a constructor
	label      string // of a plain name: what is left of it
	iface      bool   // it names an interface
}

// parseName reads `externname` (Explainer.md, Import and Export Definitions).
func parseName(s string) (externName, error) {
	if strings.HasPrefix(s, "[") {
		return annotated(s)
	}
	if strings.ContainsAny(s, ":") {
		return externName{iface: true}, interfaceName(s)
	}
	for _, prefix := range []string{"unlocked-dep=", "locked-dep=", "url=", "integrity="} {
		if strings.HasPrefix(s, prefix) {
			return externName{}, fmt.Errorf("`%s` is not a valid extern name: %s is no form of one", s, prefix)
		}
	}
	return externName{label: s}, label(s)
}

func annotated(s string) (externName, error) {
	annotation, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return externName{}, fmt.Errorf("`%s` is not a valid extern name: its annotation has no end", s)
	}
	n := externName{annotation: annotation}
	switch annotation {
	case "constructor":
		n.resource = rest
		return n, label(rest)
	case "method", "static":
		n.resource, n.label, ok = strings.Cut(rest, ".")
		if !ok {
			return n, fmt.Errorf("`%s` is not a valid extern name: failed to find `.` character between resource and function", s)
		}
		if err := label(n.resource); err != nil {
			return n, err
		}
		return n, label(n.label)
	}
	return n, fmt.Errorf("`%s` is not a valid extern name: unknown annotation `%s`", s, annotation)
}

// label checks a kebab-case label: words all lower or all upper case, the first one beginning with a letter.
func label(s string) error {
	for i, word := range strings.Split(s, "-") {
		if !isWord(word, i == 0, true) {
			return fmt.Errorf("`%s` is not in kebab case", s)
		}
	}
	return nil
}

// words checks what stands before the slash of an interface's name: lower case only.
func words(s string) bool {
	for i, word := range strings.Split(s, "-") {
		if !isWord(word, i == 0, false) {
			return false
		}
	}
	return true
}

func isWord(s string, first, acronyms bool) bool {
	if s == "" || first && isDigit(s[0]) {
		return false
	}
	lower, upper := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		case !isDigit(c):
			return false
		}
	}
	return !(lower && upper) && (acronyms || !upper)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// interfaceName checks `ns:pkg/interface@version`.
func interfaceName(s string) error {
	name, version, versioned := strings.Cut(s, "@")
	namespace, rest, ok := strings.Cut(name, ":")
	if !ok {
		return fmt.Errorf("`%s` is not a valid name: it must be an interface, as in `namespace:package/interface`", s)
	}
	pkg, projection, ok := strings.Cut(rest, "/")
	switch {
	case !words(namespace):
		return fmt.Errorf("`%s` is not a valid extern name: its namespace `%s` is not in kebab case of lower-case words", s, namespace)
	case strings.Contains(pkg, ":"):
		return fmt.Errorf("`%s` is not a valid extern name: expected `/` after package name, nested namespaces are not offered", s)
	case !words(pkg):
		return fmt.Errorf("`%s` is not a valid extern name: its package `%s` is not in kebab case of lower-case words", s, pkg)
	case !ok:
		return fmt.Errorf("`%s` is not a valid extern name: expected `/` after package name", s)
	case strings.Contains(projection, "/"):
		return fmt.Errorf("`%s` is not a valid extern name: trailing characters found after its interface, nested packages are not offered", s)
	}
	if err := label(projection); err != nil {
		return err
	}
	if !versioned {
		return nil
	}
	if err := checkVersion(version); err != nil {
		return fmt.Errorf("`%s` is not a valid extern name: version `%s`: %w", s, version, err)
	}
	return nil
}

// unique is the form in which names of one scope are compared: Explainer.md, Name Uniqueness.
func unique(s string, n externName) string {
	s = strings.ToLower(s)
	if n.annotation == "method" || n.annotation == "static" {
		if s = s[len(n.annotation)+2:]; strings.EqualFold(n.resource, n.label) {
			return strings.ToLower(n.label)
		}
	}
	return s
}
