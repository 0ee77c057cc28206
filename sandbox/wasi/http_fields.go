package wasi

import (
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// fields are headers or trailers, in the order in which they were given.
type fields struct {
	all   []headerField
	fixed bool // those of a request or response
}

type headerField struct{ name, value string }

// The cases of header-error.
const (
	invalidSyntax = iota
	forbiddenField
	immutableFields
	fieldsFine = -1
)

// forbidden are the names that belong to the connection and not to the guest.
var forbidden = []string{
	"connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

func fieldsFuncs(to map[string]host.Func) {
	const self = "func(self: borrow<fields>"
	to["[constructor]fields"] = host.Func{Type: "func() -> own<fields>", Call: newFields}
	to["[static]fields.from-list"] = host.Func{Type: "func(entries: list<tuple<string, list<u8>>>) -> result<own<fields>, header-error>", Call: fieldsFromList}
	to["[method]fields.get"] = host.Func{Type: self + ", name: string) -> list<list<u8>>", Call: fieldsGet}
	to["[method]fields.has"] = host.Func{Type: self + ", name: string) -> bool", Call: fieldsHas}
	to["[method]fields.set"] = host.Func{Type: self + ", name: string, value: list<list<u8>>) -> result<_, header-error>", Call: fieldsSet}
	to["[method]fields.delete"] = host.Func{Type: self + ", name: string) -> result<_, header-error>", Call: fieldsDelete}
	to["[method]fields.append"] = host.Func{Type: self + ", name: string, value: list<u8>) -> result<_, header-error>", Call: fieldsAppend}
	to["[method]fields.entries"] = host.Func{Type: self + ") -> list<tuple<string, list<u8>>>", Call: fieldsEntries}
	to["[method]fields.clone"] = host.Func{Type: self + ") -> own<fields>", Call: fieldsClone}
}

// fieldCost is what a field is charged beyond its bytes, of what the invocation may send.
const fieldCost = 32

// charge counts what a guest gives the host to keep.
func charge(c *canon.Call, what string, n int) {
	if s := system(c); s.Call != nil {
		s.Call.Sends("wasi:http/types"+version+"#"+what, n)
	}
}

// check tells what is wrong with a field; fieldsFine where nothing is.
func (f headerField) check() int {
	switch {
	case !httpguts.ValidHeaderFieldName(f.name), !httpguts.ValidHeaderFieldValue(f.value):
		return invalidSyntax
	case slices.Contains(forbidden, strings.ToLower(f.name)):
		return forbiddenField
	}
	return fieldsFine
}

func doneFields(out *canon.Writer, wrong int) {
	if wrong != fieldsFine {
		out.Err()
		out.Case(wrong)
		return
	}
	out.OK()
}

func newFields(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(&fields{}) }

func fieldsFromList(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	n := in.List()
	charge(c, "fields", n*fieldCost)
	f := &fields{}
	wrong := fieldsFine
	for range n {
		one := headerField{in.String(), string(in.Bytes())}
		charge(c, "fields", len(one.name)+len(one.value))
		if w := one.check(); w != fieldsFine && wrong == fieldsFine {
			wrong = w
		}
		f.all = append(f.all, one)
	}
	doneFields(out, wrong)
	if wrong == fieldsFine {
		out.Own(f)
	}
}

func (f *fields) values(name string) []string {
	var all []string
	for _, one := range f.all {
		if strings.EqualFold(one.name, name) {
			all = append(all, one.value)
		}
	}
	return all
}

func fieldsGet(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	values := canon.Borrow[*fields](in).values(in.String())
	out.List(len(values))
	for _, v := range values {
		out.Bytes([]byte(v))
	}
}

func fieldsHas(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Bool(len(canon.Borrow[*fields](in).values(in.String())) > 0)
}

// without takes the fields of a name out.
func (f *fields) without(name string) {
	f.all = slices.DeleteFunc(f.all, func(one headerField) bool { return strings.EqualFold(one.name, name) })
}

func fieldsSet(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	f, name := canon.Borrow[*fields](in), in.String()
	n := in.List()
	charge(c, "fields", n*(fieldCost+len(name)))
	set := make([]headerField, n)
	wrong := headerField{name: name}.check()
	for i := range set {
		set[i] = headerField{name, string(in.Bytes())}
		charge(c, "fields", len(set[i].value))
		if w := set[i].check(); wrong == fieldsFine {
			wrong = w
		}
	}
	if f.fixed {
		wrong = immutableFields
	}
	if wrong == fieldsFine {
		f.without(name)
		f.all = append(f.all, set...)
	}
	doneFields(out, wrong)
}

func fieldsDelete(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	f, name := canon.Borrow[*fields](in), in.String()
	wrong := headerField{name: name}.check()
	if f.fixed {
		wrong = immutableFields
	}
	if wrong == fieldsFine {
		f.without(name)
	}
	doneFields(out, wrong)
}

func fieldsAppend(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	f, one := canon.Borrow[*fields](in), headerField{in.String(), string(in.Bytes())}
	charge(c, "fields", len(one.name)+len(one.value)+fieldCost)
	wrong := one.check()
	if f.fixed {
		wrong = immutableFields
	}
	if wrong == fieldsFine {
		f.all = append(f.all, one)
	}
	doneFields(out, wrong)
}

func fieldsEntries(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	f := canon.Borrow[*fields](in)
	out.List(len(f.all))
	for _, one := range f.all {
		out.String(one.name)
		out.Bytes([]byte(one.value))
	}
}

func fieldsClone(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	f := canon.Borrow[*fields](in)
	for _, one := range f.all {
		charge(c, "fields", len(one.name)+len(one.value)+fieldCost)
	}
	out.Own(&fields{all: slices.Clone(f.all)})
}
