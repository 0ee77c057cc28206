package scheduler

// Match tells whether a channel matches a pattern by Redis' own rules (PSUBSCRIBE: "?" one byte, "*" any bytes, "[a-c]", "[^a]", "\" takes
// the next byte literally). Like Redis it compares bytes, and forgives a class that is not closed.
func Match(pattern, s string) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			return matchStar(pattern, s)
		case '?':
			if s == "" {
				return false
			}
		case '[':
			if s == "" {
				return false
			}
			rest, ok := matchClass(pattern[1:], s[0])
			if !ok {
				return false
			}
			pattern, s = rest, s[1:]
			continue
		default:
			if pattern[0] == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if s == "" || pattern[0] != s[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// matchStar needs no more than one place to come back to: the last star, since what stands before it has matched already.
func matchStar(pattern, s string) bool {
	for len(pattern) > 0 && pattern[0] == '*' {
		pattern = pattern[1:]
	}
	if pattern == "" {
		return true
	}
	segment, rest := cutStar(pattern)
	for i := 0; i <= len(s); i++ {
		used, ok := matchPrefix(segment, s[i:])
		if !ok {
			continue
		}
		if rest == "" {
			if i+used == len(s) {
				return true
			}
			continue
		}
		return matchStar(rest, s[i+used:]) // the leftmost place leaves the most for what follows
	}
	return false
}

// cutStar splits a pattern before its first star that is neither escaped nor in a class.
func cutStar(pattern string) (segment, rest string) {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*':
			return pattern[:i], pattern[i:]
		case '\\':
			i++
		case '[':
			i = len(pattern) - len(skipClass(pattern[i+1:])) - 1
		}
	}
	return pattern, ""
}

// matchPrefix matches a pattern without stars at the beginning of s and returns how many bytes it took.
func matchPrefix(pattern, s string) (int, bool) {
	used := 0
	for len(pattern) > 0 {
		if used == len(s) {
			return 0, false
		}
		c := s[used]
		switch pattern[0] {
		case '?':
			pattern = pattern[1:]
		case '[':
			rest, ok := matchClass(pattern[1:], c)
			if !ok {
				return 0, false
			}
			pattern = rest
		default:
			if pattern[0] == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if pattern[0] != c {
				return 0, false
			}
			pattern = pattern[1:]
		}
		used++
	}
	return used, true
}

// matchClass reads a class after its "[" and returns what follows it, and whether c is in it.
func matchClass(class string, c byte) (rest string, in bool) {
	not := len(class) > 0 && class[0] == '^'
	if not {
		class = class[1:]
	}
	for len(class) > 0 && class[0] != ']' {
		switch {
		case class[0] == '\\' && len(class) >= 2:
			in = in || class[1] == c
			class = class[2:]
		case len(class) >= 3 && class[1] == '-':
			lo, hi := min(class[0], class[2]), max(class[0], class[2])
			in = in || lo <= c && c <= hi
			class = class[3:]
		default:
			in = in || class[0] == c
			class = class[1:]
		}
	}
	if len(class) > 0 {
		class = class[1:]
	}
	return class, in != not
}

func skipClass(class string) string {
	rest, _ := matchClass(class, 0)
	return rest
}
