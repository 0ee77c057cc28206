package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Bounds of a manifest. What is larger is one fault, and nothing of the file is read further.
const (
	maxSize    = 256 << 10 // bytes
	maxDepth   = 32        // tables and arrays within one another, dotted keys included
	maxEntries = 1000      // keys of one table, items of one array
)

// kind says what a node holds; its text is what faults call it.
type kind string

const (
	text     kind = "a string"
	integer  kind = "an integer"
	float    kind = "a float"
	boolean  kind = "a boolean"
	datetime kind = "a date or time"
	array    kind = "an array"
	table    kind = "a table"
)

// node is a TOML value that knows where it stands in the file.
type node struct {
	kind    kind
	text    string // of a string: its value; of other scalars: as written
	at      position
	items   []*node        // of an array
	entries []entry        // of a table, in the order of the file
	index   map[string]int // key to place in entries
}

type entry struct {
	key   string
	at    position
	value *node
}

type position struct{ line, column int }

func newTable(at position) *node { return &node{kind: table, at: at, index: map[string]int{}} }

// get returns the value of a key, nil where there is none.
func (n *node) get(key string) *node {
	if i, ok := n.index[key]; ok {
		return n.entries[i].value
	}
	return nil
}

func (n *node) put(key string, at position, v *node) {
	n.index[key] = len(n.entries)
	n.entries = append(n.entries, entry{key, at, v})
}

// errShape is a document that go-toml's decoder refuses as well (a key given twice, a table that is none, a syntax error): the tree cannot be
// built, and the decoder's message is the better one.
var errShape = errors.New("the document cannot be read as tables of keys and values")

// grower builds the tree from the syntax tree, expression by expression.
type grower struct {
	parser unstable.Parser
	data   []byte
	root   *node

	// The last place asked for. Places are asked for in the order of the file, so finding all of them reads it once.
	offset int
	last   position
}

// growTree reads TOML into a tree. A document that is not TOML, or too large, gives one fault.
func growTree(file string, data []byte) (*node, Faults) {
	if len(data) > maxSize {
		return nil, Faults{{File: file, Problem: fmt.Sprintf("the manifest is larger than %d KiB", maxSize>>10),
			Next: "keep data in files of their own and name them in \"files\""}}
	}
	g := grower{data: data, root: newTable(position{1, 1}), last: position{1, 1}}
	err := g.grow()
	if f := (Fault{}); errors.As(err, &f) {
		f.File = file
		return nil, Faults{f}
	}
	// The decoder holds the rules that syntax alone does not show: keys given twice, tables defined twice, dates that do not exist.
	var rest map[string]any
	if wrong := toml.Unmarshal(data, &rest); wrong != nil {
		return nil, Faults{g.syntaxFault(file, wrong)}
	}
	if err != nil {
		return nil, Faults{{File: file, Problem: err.Error(), Next: "define each table once"}}
	}
	return g.root, nil
}

func (g *grower) syntaxFault(file string, err error) Fault {
	f := Fault{File: file, Problem: strings.TrimPrefix(err.Error(), "toml: "), Next: "see https://toml.io/en/v1.0.0 for the syntax"}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column := at.Position()
		f.Line, f.Column = line, g.characters(line, column)
		f.Path = dotted(at.Key()...)
	}
	return f
}

// characters turns a column in bytes into one in characters.
func (g *grower) characters(line, column int) int {
	rest := g.data
	for range line - 1 {
		_, rest, _ = bytes.Cut(rest, []byte{'\n'})
	}
	return utf8.RuneCount(rest[:min(max(column-1, 0), len(rest))]) + 1
}

// position says where an offset of the file is.
func (g *grower) position(offset int) position {
	if offset < g.offset {
		g.offset, g.last = 0, position{1, 1}
	}
	for g.offset < offset {
		r, size := utf8.DecodeRune(g.data[g.offset:])
		if r == '\n' {
			g.last = position{g.last.line + 1, 1}
		} else {
			g.last.column++
		}
		g.offset += size
	}
	return g.last
}

func (g *grower) grow() error {
	g.parser.Reset(g.data)
	current, depth := g.root, 0
	for g.parser.NextExpression() {
		e := g.parser.Expression()
		var err error
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			current, depth, err = g.header(e)
		case unstable.KeyValue:
			err = g.keyValue(current, e, depth)
		}
		if err != nil {
			return err
		}
	}
	if g.parser.Error() != nil {
		return errShape // the decoder finds it again, with its position
	}
	return nil
}

// header finds or makes the table that [a.b] or [[a.b]] opens.
func (g *grower) header(e *unstable.Node) (*node, int, error) {
	keys := e.Key()
	n, depth := g.root, 0
	for keys.Next() {
		k := keys.Node()
		key, at := string(k.Data), g.position(int(k.Raw.Offset))
		depth++
		if depth > maxDepth {
			return nil, 0, tooDeep(at)
		}
		child := n.get(key)
		last := k.Next() == nil
		switch {
		case last && e.Kind == unstable.ArrayTable:
			if child == nil {
				child = &node{kind: array, at: at}
				if err := g.add(n, key, at, child); err != nil {
					return nil, 0, err
				}
			}
			if child.kind != array {
				return nil, 0, errShape
			}
			if len(child.items) == maxEntries {
				return nil, 0, tooMany(at)
			}
			item := newTable(at)
			child.items = append(child.items, item)
			child = item
		case child == nil:
			child = newTable(at)
			if err := g.add(n, key, at, child); err != nil {
				return nil, 0, err
			}
		case child.kind == array && len(child.items) > 0: // [a.b] below [[a]] belongs to the last a
			child = child.items[len(child.items)-1]
		}
		if child.kind != table {
			return nil, 0, errShape
		}
		n = child
	}
	return n, depth, nil
}

func (g *grower) keyValue(n *node, e *unstable.Node, depth int) error {
	keys := e.Key()
	for keys.Next() {
		k := keys.Node()
		key, at := string(k.Data), g.position(int(k.Raw.Offset))
		depth++
		if depth > maxDepth {
			return tooDeep(at)
		}
		child := n.get(key)
		if k.Next() == nil {
			if child != nil {
				return errShape
			}
			v, err := g.value(e.Value(), g.position(g.valueOffset(k)), depth)
			if err != nil {
				return err
			}
			return g.add(n, key, at, v)
		}
		if child == nil {
			child = newTable(at)
			if err := g.add(n, key, at, child); err != nil {
				return err
			}
		}
		if child.kind != table {
			return errShape
		}
		n = child
	}
	return errShape
}

// valueOffset finds the value behind its key: arrays do not say where they begin.
func (g *grower) valueOffset(key *unstable.Node) int {
	i := int(key.Raw.Offset + key.Raw.Length)
	for i < len(g.data) && strings.IndexByte(" \t=", g.data[i]) >= 0 {
		i++
	}
	return i
}

// value copies a value. It stands at the given place unless it says better: an array within an array does not, and takes the outer one's place.
func (g *grower) value(v *unstable.Node, at position, depth int) (*node, error) {
	if v.Raw.Length > 0 {
		at = g.position(int(v.Raw.Offset))
	}
	n := &node{text: string(v.Data), at: at}
	switch v.Kind {
	case unstable.String:
		n.kind = text
	case unstable.Integer:
		n.kind = integer
	case unstable.Float:
		n.kind = float
	case unstable.Bool:
		n.kind = boolean
	case unstable.Array:
		n.kind = array
		return n, g.items(n, v, depth+1)
	case unstable.InlineTable:
		n = newTable(n.at)
		entries := v.Children()
		for entries.Next() {
			if err := g.keyValue(n, entries.Node(), depth); err != nil {
				return nil, err
			}
		}
	default:
		n.kind = datetime
	}
	return n, nil
}

func (g *grower) items(n *node, v *unstable.Node, depth int) error {
	if depth > maxDepth {
		return tooDeep(n.at)
	}
	items := v.Children()
	for items.Next() {
		if len(n.items) == maxEntries {
			return tooMany(n.at)
		}
		item, err := g.value(items.Node(), n.at, depth)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return nil
}

func (g *grower) add(n *node, key string, at position, v *node) error {
	if len(n.entries) == maxEntries {
		return tooMany(at)
	}
	n.put(key, at, v)
	return nil
}

func tooDeep(at position) error {
	return Fault{Line: at.line, Column: at.column, Problem: fmt.Sprintf("tables and arrays are nested deeper than %d", maxDepth),
		Next: "no key of a manifest needs that"}
}

func tooMany(at position) error {
	return Fault{Line: at.line, Column: at.column, Problem: fmt.Sprintf("more than %d entries in one table or array", maxEntries),
		Next: "split the application"}
}
