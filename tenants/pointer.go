package tenants

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Pointer is a JSON pointer (RFC 6901) to a place in a JSON document.
type Pointer struct {
	text   string
	tokens [maxTokens]string // unescaped; so that two Pointers can be compared
	n      int
}

// Bounds of pointers and of what is read for them.
const (
	MaxPointer = 256      // bytes
	maxTokens  = 8        // steps from the document's top
	MaxSearch  = 16 << 10 // bytes of a document that are read: a value that ends behind them is not found
)

// ParsePointer reads a pointer such as "/order/customer". The empty pointer, which is the whole document, is refused.
func ParsePointer(s string) (*Pointer, error) {
	p := &Pointer{text: s}
	switch {
	case !strings.HasPrefix(s, "/"):
		return nil, fmt.Errorf("a JSON pointer begins with \"/\"; got %.40q", s)
	case len(s) > MaxPointer:
		return nil, fmt.Errorf("a pointer of %d bytes is too long, at most %d are allowed", len(s), MaxPointer)
	case !utf8.ValidString(s):
		return nil, errors.New("a pointer must be UTF-8")
	}
	for token := range strings.SplitSeq(s[1:], "/") {
		if p.n == maxTokens {
			return nil, fmt.Errorf("pointer %.40q has more than %d steps", s, maxTokens)
		}
		plain := strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		if strings.Count(token, "~") != strings.Count(token, "~0")+strings.Count(token, "~1") {
			return nil, fmt.Errorf("in a pointer \"~\" is written \"~0\" and \"/\" within a name \"~1\"; got %.40q", token)
		}
		p.tokens[p.n] = plain
		p.n++
	}
	return p, nil
}

func (p *Pointer) String() string { return p.text }

// Find returns the value that the pointer names, as it is written in the document: a string with its quotes, and an object or array whole.
// So two spellings of one value ("a" and "\u0061", 1 and 1.0) are two. It returns false where there is no such value, and where the document
// is no JSON up to there; what follows is not looked at. Of members of one name the first counts. It allocates nothing, reads MaxSearch bytes
// at most, and does not recurse.
func (p *Pointer) Find(document []byte) ([]byte, bool) {
	s := scan{b: document[:min(len(document), MaxSearch)], whole: len(document) <= MaxSearch}
	for _, token := range p.tokens[:p.n] {
		s.space()
		if s.i == len(s.b) {
			return nil, false
		}
		var found bool
		switch s.b[s.i] {
		case '{':
			found = s.member(token)
		case '[':
			found = s.element(token)
		}
		if !found {
			return nil, false
		}
	}
	s.space()
	from := s.i
	if !s.value() {
		return nil, false
	}
	return s.b[from:s.i], true
}

// scan walks a document.
type scan struct {
	b     []byte
	i     int
	whole bool // b is all of the document
}

func (s *scan) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// next takes a character that stands between values.
func (s *scan) next(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// member goes into an object, to the value of a name.
func (s *scan) member(name string) bool {
	s.i++
	for {
		s.space()
		from := s.i
		if !s.text() {
			return false
		}
		is := spells(s.b[from+1:s.i-1], name)
		if !s.next(':') {
			return false
		}
		if is {
			return true
		}
		if s.space(); !s.value() || !s.next(',') {
			return false
		}
	}
}

// element goes into an array, to a place.
func (s *scan) element(token string) bool {
	left, ok := index(token)
	if !ok {
		return false
	}
	s.i++
	for s.space(); left > 0; left-- {
		if !s.value() || !s.next(',') {
			return false
		}
		s.space()
	}
	return true
}

// index reads an array index of RFC 6901: digits without leading zeros.
func index(token string) (n int, ok bool) {
	if token == "" || len(token) > 6 || token[0] == '0' && len(token) > 1 {
		return 0, false
	}
	for _, c := range token {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// value goes over one value. Of objects and arrays it holds the brackets and the strings, not the grammar between them.
func (s *scan) value() bool {
	for depth := 0; s.i < len(s.b); {
		switch c := s.b[s.i]; c {
		case '"':
			if !s.text() {
				return false
			}
		case '{', '[':
			depth++
			s.i++
			continue
		case '}', ']':
			if depth == 0 {
				return false
			}
			depth--
			s.i++
		case ' ', '\t', '\n', '\r', ',', ':':
			if depth == 0 {
				return false
			}
			s.i++
			continue
		default:
			if !s.word() {
				return false
			}
		}
		if depth == 0 {
			return true
		}
	}
	return false
}

// text goes over a string.
func (s *scan) text() bool {
	if s.i == len(s.b) || s.b[s.i] != '"' {
		return false
	}
	for s.i++; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return true
		case c == '\\':
			s.i++
		case c < ' ':
			return false
		}
	}
	return false
}

// word goes over a number, true, false or null.
func (s *scan) word() bool {
	from := s.i
	for s.i < len(s.b) && wordy(s.b[s.i]) {
		s.i++
	}
	if s.i == from || s.i == len(s.b) && !s.whole {
		return false // nothing, or what may be the beginning of a longer one
	}
	switch w := s.b[from:s.i]; w[0] {
	case 't':
		return string(w) == "true"
	case 'f':
		return string(w) == "false"
	case 'n':
		return string(w) == "null"
	default:
		return w[0] == '-' || '0' <= w[0] && w[0] <= '9'
	}
}

func wordy(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// spells tells whether the inside of a JSON string is a name.
func spells(inside []byte, name string) bool {
	for len(inside) > 0 {
		if inside[0] != '\\' {
			if name == "" || name[0] != inside[0] {
				return false
			}
			inside, name = inside[1:], name[1:]
			continue
		}
		r, n := escaped(inside)
		if n == 0 {
			return false
		}
		var utf [utf8.UTFMax]byte
		size := utf8.EncodeRune(utf[:], r)
		if !strings.HasPrefix(name, string(utf[:size])) {
			return false
		}
		inside, name = inside[n:], name[size:]
	}
	return name == ""
}

// escaped reads an escape at the beginning of b and its length, 0 for none.
func escaped(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	if i := strings.IndexByte(`"\/bfnrt`, b[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	high, ok := unit(b)
	if !ok {
		return 0, 0
	}
	if low, ok := unit(b[6:]); ok && 0xd800 <= high && high < 0xdc00 && 0xdc00 <= low && low < 0xe000 {
		return (high-0xd800)<<10 + (low - 0xdc00) + 0x10000, 12
	}
	return high, 6
}

// unit reads \uXXXX.
func unit(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}
