package scheduler

// maxStars is how many stars with something behind them Redis follows (since 6.2.16, 7.2.6 and 7.4.1): a pattern with more matches nothing.
const maxStars = 1000

// Match tells whether a channel matches a pattern by Redis' own rules (PSUBSCRIBE: "?" one byte, "*" any bytes, "[a-c]", "[^a]", "\" takes
// the next byte literally). Like Redis it compares bytes, forgives a class that is not closed, and lets the empty channel match no pattern but
// the empty one, not even "*". Its time is at most the product of the two lengths.
func Match[S string | []byte](pattern string, s S) bool {
	if len(s) == 0 {
		return pattern == ""
	}
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			return matchStar(pattern, s, 1)
		case '?':
			if len(s) == 0 {
				return false
			}
		case '[':
			if len(s) == 0 {
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
			if len(s) == 0 || pattern[0] != s[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return len(s) == 0
}

// matchStar needs no more than one place to come back to: the last star, since what stands before it has matched already.
func matchStar[S string | []byte](pattern string, s S, nesting int) bool {
	for len(pattern) > 0 && pattern[0] == '*' {
		pattern = pattern[1:]
	}
	if pattern == "" {
		return true
	}
	if nesting > maxStars {
		return false
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
		return matchStar(rest, s[i+used:], nesting+1) // the leftmost place leaves the most for what follows
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
func matchPrefix[S string | []byte](pattern string, s S) (int, bool) {
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
