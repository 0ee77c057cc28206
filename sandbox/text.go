package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds what a guest can make a message say: names in its module are of its choice.
const maxText = 4 << 10

// bounded makes text in which a guest has a say safe to show: at most maxText bytes and a mark, and what is no visible character, line end or
// tab is written as Go escapes it.
func bounded(text string) string {
	var out strings.Builder
	for k := 0; k < len(text); {
		if out.Len() >= maxText {
			out.WriteString(" ... (cut)")
			break
		}
		r, n := utf8.DecodeRuneInString(text[k:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, text[k])
		case r == '\n', r == '\t', unicode.IsGraphic(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		k += n
	}
	return out.String()
}

// inFunction names the guest's function that a host function has ended; nothing where the module has no names. wazero tells it in a stack
// trace only, whose first line is the host function.
func inFunction(err error) string {
	_, trace, found := strings.Cut(err.Error(), "wasm stack trace:\n\t")
	if !found {
		return ""
	}
	_, trace, _ = strings.Cut(trace, "\n\t")
	name, _, _ := strings.Cut(trace, "\n")
	if end := strings.LastIndexByte(name, '('); end >= 0 { // the types
		name = name[:end]
	}
	name = strings.TrimPrefix(name, ".")
	if name == "" || strings.Contains(name, "$") { // wazero's for a function without a name
		return ""
	}
	const most = 100
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "..."
	}
	return " in the function " + bounded(name)
}
