package manifest

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Globs are those of Rust's glob crate, which Spin uses: * ? [a-z] [!a-z], and ** as a whole component for any number of directories. There is no
// escape character and no {a,b}; names that begin with a dot match like others.

var (
	errWildcards = errors.New("wildcards are either \"*\" or \"**\"")
	errRecursive = errors.New("\"**\" must be a whole path component")
	errRange     = errors.New("\"[\" has no matching \"]\"")
	errLong      = fmt.Errorf("the pattern is longer than %d bytes", maxGlob)
)

// maxGlob bounds one pattern, because matching costs the product of both lengths.
const maxGlob = 1024

// looksLikeGlob tells whether a path means a glob where no file has that name.
func looksLikeGlob(s string) bool { return strings.ContainsAny(s, "*?[]") }

// compileGlob makes a pattern that matches whole paths, as exclude_files means it: there "*" and "?" match "/" too.
func compileGlob(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxGlob {
		return nil, errLong
	}
	var out strings.Builder
	out.WriteString(`(?s)\A`)
	in := []rune(pattern)
	for i := 0; i < len(in); {
		switch in[i] {
		case '?':
			out.WriteByte('.')
			i++
		case '*':
			n, err := stars(in, i)
			if err != nil {
				return nil, err
			}
			if n == 1 {
				out.WriteString(".*")
			} else {
				out.WriteString("(?:.*/)?")
				n = min(n+1, len(in)-i) // the slash behind it belongs to it
			}
			i += n
		case '[':
			class, n, err := charClass(in[i:])
			if err != nil {
				return nil, err
			}
			out.WriteString(class)
			i += n
		default:
			out.WriteString(regexp.QuoteMeta(string(in[i])))
			i++
		}
	}
	out.WriteString(`\z`)
	re, err := regexp.Compile(out.String())
	if err != nil {
		return nil, fmt.Errorf("compile glob: %w", err)
	}
	return re, nil
}

// stars counts the stars at i: one, or two that are a component of their own.
func stars(in []rune, i int) (int, error) {
	n := 0
	for i+n < len(in) && in[i+n] == '*' {
		n++
	}
	switch {
	case n > 2:
		return 0, errWildcards
	case n == 2 && (i > 0 && in[i-1] != '/' || i+2 < len(in) && in[i+2] != '/'):
		return 0, errRecursive
	}
	return n, nil
}

// charClass turns [abc], [a-z] or [!a-z] at the beginning of in into a regular expression, and says how many runes it took. A "]" right behind the
// opening is a member.
func charClass(in []rune) (string, int, error) {
	first, not := 1, false
	if len(in) > 1 && in[1] == '!' {
		first, not = 2, true
	}
	end := first + 1
	for end < len(in) && in[end] != ']' {
		end++
	}
	if end >= len(in) {
		return "", 0, errRange
	}
	var out strings.Builder
	for members := in[first:end]; len(members) > 0; {
		low, high, n := members[0], members[0], 1
		if len(members) >= 3 && members[1] == '-' {
			high, n = members[2], 3
		}
		if low <= high { // a range that runs backwards has no members
			fmt.Fprintf(&out, `\x{%x}-\x{%x}`, low, high)
		}
		members = members[n:]
	}
	switch {
	case out.Len() == 0 && not:
		return `.`, end + 1, nil
	case out.Len() == 0:
		return `[^\x00-\x{10ffff}]`, end + 1, nil
	case not:
		return `[^` + out.String() + `]`, end + 1, nil
	}
	return `[` + out.String() + `]`, end + 1, nil
}

// part is one component of a glob that is walked: any number of directories, a name, or a pattern of names.
type part struct {
	recursive bool
	name      string
	pattern   *regexp.Regexp // nil for a plain name
}

// splitGlob takes a glob apart for walking. "**" beside "**" is one.
func splitGlob(pattern string) ([]part, error) {
	if _, err := compileGlob(pattern); err != nil {
		return nil, err
	}
	var parts []part
	for name := range strings.SplitSeq(path.Clean(pattern), "/") {
		switch {
		case name == "**":
			if len(parts) == 0 || !parts[len(parts)-1].recursive {
				parts = append(parts, part{recursive: true})
			}
		case !looksLikeGlob(name):
			parts = append(parts, part{name: name})
		default:
			re, err := compileGlob(name)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part{pattern: re})
		}
	}
	return parts, nil
}

// checkPattern holds an entry of files against what can be said without looking at the disk.
func checkPattern(s string) (problem, next string) {
	const whole = `to include a directory write { source = "dir", destination = "/dir" }, or a glob ending in **/*`
	last := s[strings.LastIndexByte(s, '/')+1:]
	switch {
	case s == "":
		return "must not be empty", "write a file or a glob"
	case last == "..":
		return "a file pattern can't end in a parent directory path (..)", whole
	case last == ".":
		return "a file pattern can't end in a current directory path (.)", whole
	case !withinDir(s):
		return fmt.Sprintf("%q is outside of the application's directory", clip(s)), "move what is needed beside the manifest"
	}
	return "", ""
}

// withinDir tells whether a relative path stays below where it begins, as far as its text shows.
func withinDir(s string) bool {
	if strings.HasPrefix(s, "/") || strings.Contains(s, "\x00") {
		return false
	}
	clean := path.Clean(s)
	return clean != ".." && !strings.HasPrefix(clean, "../")
}
