package secrets

import (
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// parseEnvFile picks the variables out of a .env file. Of several spellings of one variable ours wins over Spin's and that over the plain
// key; of two lines with the same name the first wins, as in Spin.
func parseEnvFile(text string) (map[string]string, error) {
	return pickVariables(text, EnvPrefix, SpinEnvPrefix, "")
}

// EnvFile is File of a .env file of any name, in which variables are written as in the environment, behind one of the prefixes.
func EnvFile(path string, prefixes ...string) (Provider, error) {
	texts, err := readTable(path, func(text string) (map[string]string, error) { return pickVariables(text, prefixes...) })
	if err != nil {
		return nil, err
	}
	return fileOf(path, texts), nil
}

// pickVariables takes what stands behind a prefix, in capitals, and the plain keys for the prefix "".
func pickVariables(text string, prefixes ...string) (map[string]string, error) {
	lines, err := (&envFile{text: text, line: 1}).read()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, prefix := range prefixes {
		for key, value := range lines {
			name, ok := strings.CutPrefix(key, prefix)
			if prefix != "" {
				ok = ok && name == strings.ToUpper(name)
				name = strings.ToLower(name)
			}
			if _, have := values[name]; !ok || have || tenants.CheckVariableKey(name) != nil {
				continue
			}
			values[name] = value
		}
	}
	return values, nil
}

// envFile reads NAME=value lines: "export " before a name and comments after # are passed over. Single quotes hold text as it is, double
// quotes know \n \r \t \" \\ \$, both may run over lines. $NAME is not replaced: a password may hold a dollar sign.
type envFile struct {
	text string // what is left
	line int
}

func (f *envFile) read() (map[string]string, error) {
	lines := map[string]string{}
	for {
		f.skipBlank()
		if f.text == "" {
			return lines, nil
		}
		key, value, err := f.pair()
		if err != nil {
			return nil, err
		}
		if _, have := lines[key]; !have {
			lines[key] = value
		}
	}
}

func (f *envFile) skipBlank() {
	for f.text != "" {
		switch {
		case f.text[0] == '#':
			f.rest()
		case strings.IndexByte(" \t\r\n", f.text[0]) >= 0:
			f.take(1)
		default:
			return
		}
	}
}

func (f *envFile) pair() (key, value string, err error) {
	start := f.line
	stop := strings.IndexAny(f.text, "=\n")
	if stop < 0 || f.text[stop] != '=' {
		return "", "", fmt.Errorf("line %d: want NAME=value", start)
	}
	key = strings.TrimSpace(f.take(stop))
	key = strings.TrimSpace(strings.TrimPrefix(key, "export "))
	if key == "" || strings.ContainsAny(key, " \t\"'") {
		return "", "", fmt.Errorf("line %d: want NAME=value", start)
	}
	f.take(1)
	f.text = strings.TrimLeft(f.text, " \t")
	if f.text == "" || f.text[0] != '"' && f.text[0] != '\'' {
		return key, bare(f.rest()), nil
	}
	value, ok := f.quoted(f.take(1)[0])
	if !ok {
		return "", "", fmt.Errorf("line %d: the quote of %.64q is not closed", start, key)
	}
	if after := strings.TrimSpace(f.rest()); after != "" && after[0] != '#' {
		return "", "", fmt.Errorf("line %d: more text after the closing quote of %.64q", f.line, key)
	}
	return key, value, nil
}

// bare is a value without quotes: up to a # that follows a space.
func bare(s string) string {
	for i := range len(s) {
		if s[i] == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
			s = s[:i]
			break
		}
	}
	return strings.TrimSpace(s)
}

func (f *envFile) quoted(quote byte) (string, bool) {
	var out strings.Builder
	for f.text != "" {
		c := f.take(1)[0]
		switch {
		case c == quote:
			return out.String(), true
		case c == '\\' && quote == '"' && f.text != "":
			out.WriteString(unescape(f.take(1)))
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}

func unescape(c string) string {
	switch c {
	case "n":
		return "\n"
	case "r":
		return "\r"
	case "t":
		return "\t"
	case `"`, `\`, "$":
		return c
	}
	return `\` + c
}

// take removes n bytes from what is left and counts the lines in them.
func (f *envFile) take(n int) string {
	taken := f.text[:n]
	f.text = f.text[n:]
	f.line += strings.Count(taken, "\n")
	return taken
}

// rest takes what is left of the line, without its end.
func (f *envFile) rest() string {
	if n := strings.IndexByte(f.text, '\n'); n >= 0 {
		return f.take(n)
	}
	return f.take(len(f.text))
}
