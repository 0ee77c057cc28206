package host

import (
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// parser reads function types of one interface.
type parser struct {
	table     *types.Table
	named     map[string]string
	resources map[string]*types.Resource
	made      map[string]*types.Type // those of named that are read; nil while one is, which would hold itself
	text      string
	at        int
	err       error
}

var primitives = map[string]types.Kind{
	"bool": types.Bool, "u8": types.U8, "s8": types.S8, "u16": types.U16, "s16": types.S16, "u32": types.U32, "s32": types.S32,
	"u64": types.U64, "s64": types.S64, "f32": types.F32, "f64": types.F64, "char": types.Char, "string": types.String,
}

// fn reads a function type.
func (p *parser) fn(text string) (*types.Func, error) {
	p.text, p.at, p.err = text, 0, nil
	word := p.word()
	async := word == "async"
	if async {
		word = p.word()
	}
	if word != "func" {
		p.fail("a function type begins with func")
	}
	var params []types.Field
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		if len(params) > 0 {
			p.expect(",")
		}
		params = append(params, p.field())
	}
	var result *types.Type
	if p.accept("->") {
		result = p.value()
	}
	p.end()
	if p.err != nil {
		return nil, p.err
	}
	return p.table.Func(params, result, async)
}

func (p *parser) field() types.Field {
	name := p.word()
	p.expect(":")
	return types.Field{Name: name, Type: p.value()}
}

// value reads a value type.
func (p *parser) value() *types.Type {
	switch word := p.word(); word {
	case "list":
		return p.of(p.table.List)
	case "option":
		return p.of(p.table.Option)
	case "own", "borrow":
		p.expect("<")
		r := p.resource(p.word())
		p.expect(">")
		if word == "own" {
			return p.keep(p.table.Own(r))
		}
		return p.keep(p.table.Borrow(r))
	case "result":
		return p.result()
	case "tuple":
		var elements []*types.Type
		p.each(func() { elements = append(elements, p.value()) })
		return p.build(func() (*types.Type, error) { return p.table.Tuple(elements...) })
	case "record":
		var fields []types.Field
		p.each(func() { fields = append(fields, p.field()) })
		return p.build(func() (*types.Type, error) { return p.table.Record(fields...) })
	case "variant":
		var cases []types.Case
		p.each(func() { cases = append(cases, p.variant()) })
		return p.build(func() (*types.Type, error) { return p.table.Variant(cases...) })
	case "enum", "flags":
		var labels []string
		p.each(func() { labels = append(labels, p.word()) })
		if word == "enum" {
			return p.build(func() (*types.Type, error) { return p.table.Enum(labels...) })
		}
		return p.build(func() (*types.Type, error) { return p.table.Flags(labels...) })
	default:
		return p.name(word)
	}
}

func (p *parser) variant() types.Case {
	c := types.Case{Name: p.word()}
	if p.accept("(") {
		c.Type = p.value()
		p.expect(")")
	}
	return c
}

func (p *parser) result() *types.Type {
	var of [2]*types.Type
	if p.accept("<") {
		for i := range of {
			if !p.accept("_") {
				of[i] = p.value()
			}
			if i == 1 || !p.accept(",") {
				break
			}
		}
		p.expect(">")
	}
	return p.build(func() (*types.Type, error) { return p.table.Result(of[0], of[1]) })
}

// name reads what has no form of its own: a primitive, or a type that the interface names.
func (p *parser) name(word string) *types.Type {
	if k, ok := primitives[word]; ok {
		return types.Primitive(k)
	}
	if t, ok := p.made[word]; ok {
		if t == nil {
			p.fail("the type " + word + " holds itself")
		}
		return t
	}
	text, ok := p.named[word]
	if !ok {
		p.fail("there is no type " + word)
		return nil
	}
	outer, at := p.text, p.at
	p.made[word] = nil
	p.text, p.at = text, 0
	t := p.value()
	p.end()
	p.made[word] = t
	p.text, p.at = outer, at
	return t
}

// resource is the resource of a name: within an interface they are told apart by names alone.
func (p *parser) resource(name string) *types.Resource {
	if p.resources[name] == nil {
		p.resources[name] = types.NewResource(name)
	}
	return p.resources[name]
}

func (p *parser) of(build func(*types.Type) (*types.Type, error)) *types.Type {
	p.expect("<")
	elem := p.value()
	p.expect(">")
	return p.build(func() (*types.Type, error) { return build(elem) })
}

// build makes a type where its parts could be read.
func (p *parser) build(build func() (*types.Type, error)) *types.Type {
	if p.err != nil {
		return nil
	}
	return p.keep(build())
}

func (p *parser) keep(t *types.Type, err error) *types.Type {
	if err != nil {
		p.fail(err.Error())
	}
	return t
}

// each reads a list in angle brackets.
func (p *parser) each(one func()) {
	p.expect("<")
	one()
	for p.err == nil && p.accept(",") {
		one()
	}
	p.expect(">")
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) accept(what string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], what) {
		return false
	}
	p.at += len(what)
	return true
}

func (p *parser) expect(what string) {
	if !p.accept(what) {
		p.fail("expected " + what)
	}
}

// word reads a label.
func (p *parser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) && isLabel(p.text[p.at]) {
		p.at++
	}
	if start == p.at {
		p.fail("expected a name")
	}
	return p.text[start:p.at]
}

func isLabel(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

func (p *parser) end() {
	if p.space(); p.at < len(p.text) {
		p.fail("there is more than a type")
	}
}

// fail keeps the first error. What is read after it does not count.
func (p *parser) fail(why string) {
	if p.err == nil {
		p.err = fmt.Errorf("read the type %q at byte %d: %s", p.text, p.at, why)
	}
}
