package tenants

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a resource.
type Fault struct {
	Pointer string `json:"pointer"` // RFC 6901, into the resource as JSON; "" is the resource as a whole
	Code    string `json:"code"`    // stable: missing, invalid, too_long, too_many, out_of_range, duplicate, unknown_field
	Detail  string `json:"detail"`  // a sentence without its full stop; holds no secret value
}

// Faults are all that is wrong with a resource, in the order of its fields.
type Faults []Fault

func (f Faults) Error() string {
	var b strings.Builder
	for i, one := range f {
		if i > 0 {
			b.WriteString("; ")
		}
		if one.Pointer != "" {
			b.WriteString(one.Pointer + ": ")
		}
		b.WriteString(one.Detail)
	}
	return b.String()
}

// maxFaults is how many faults of one resource are kept; what comes after is counted in a last one.
const maxFaults = 100

// checker gathers faults.
type checker struct {
	faults Faults
	more   int // beyond maxFaults
}

func (c *checker) add(pointer, code, format string, args ...any) {
	if len(c.faults) == maxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{pointer, code, fmt.Sprintf(format, args...)})
}

// err gives the faults, or nil.
func (c *checker) err() error {
	if len(c.faults) == 0 {
		return nil
	}
	if c.more > 0 {
		return append(c.faults, Fault{"", "too_many", fmt.Sprintf("%d more faults", c.more)})
	}
	return c.faults
}

func (c *checker) name(pointer, s string) {
	if err := CheckName(s); err != nil {
		c.add(pointer, "invalid", "%v", err)
	}
}

// text bounds free text in bytes and keeps what would confuse a terminal or a log out of it.
func (c *checker) text(pointer, s string, most int) {
	if len(s) > most {
		c.add(pointer, "too_long", "it has %d bytes, at most %d are allowed", len(s), most)
		return
	}
	for _, r := range s {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == '�' {
			c.add(pointer, "invalid", "it holds %U, which is no printable text", r)
			return
		}
	}
}

func (c *checker) required(pointer, s string, most int) {
	if s == "" {
		c.add(pointer, "missing", "it must not be empty")
		return
	}
	c.text(pointer, s, most)
}

func (c *checker) count(pointer string, n, most int, what string) {
	if n > most {
		c.add(pointer, "too_many", "%d %s, at most %d are allowed", n, what, most)
	}
}

func (c *checker) between(pointer string, n, least, most int64) {
	if n < least || n > most {
		c.add(pointer, "out_of_range", "%d is not between %d and %d", n, least, most)
	}
}

// oneOf checks a word against a closed set.
func oneOf[T ~string](c *checker, pointer string, s T, of ...T) {
	for _, ok := range of {
		if s == ok {
			return
		}
	}
	words := make([]string, len(of))
	for i, ok := range of {
		words[i] = string(ok)
	}
	c.add(pointer, "invalid", "%.40q is not one of %s", string(s), strings.Join(words, ", "))
}
