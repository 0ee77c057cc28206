package sandbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// handle gives the guest one message. Its result is ok, or an error of its interface; fermyon:spin's error "success" is what the Go SDK up to 2
// answers when all went well.
func (p *parts) handle(ctx context.Context, payload []byte) (legacy bool, err error) {
	p.payload, p.answer, p.legacy = payload, nil, false
	err = p.lifts[p.assembly.handler.Index].Call(ctx, p.write, p.read)
	p.payload = nil
	if err != nil {
		return false, err
	}
	return p.legacy, p.answer
}

func (p *parts) writePayload(out *canon.Writer) { out.Bytes(p.payload) }

func (p *parts) readAnswer(in *canon.Reader) {
	if in.Result() {
		return
	}
	t := p.assembly.failure
	v := in.Value(t)
	if t.Kind() == types.Enum && t.Cases()[v.(canon.Enum)].Name == "success" {
		p.legacy = true
		return
	}
	p.answer = fmt.Errorf("%w: %s", errAnswer, bounded(valueText(t, v)))
}

// maxValue is the number of bytes after which the text of a value leaves the rest out.
const maxValue = 1 << 10

// valueText writes a value in WIT's words: the case of a variant with what it carries, strings as they are.
func valueText(t *types.Type, v canon.Value) string {
	var b strings.Builder
	writeValue(&b, t, v)
	return b.String()
}

func writeValue(b *strings.Builder, t *types.Type, v canon.Value) {
	if b.Len() > maxValue {
		return
	}
	switch v := v.(type) {
	case canon.Enum:
		b.WriteString(t.Cases()[v].Name)
	case canon.Variant:
		c := t.Cases()[v.Case]
		b.WriteString(c.Name)
		if c.Type != nil {
			b.WriteString(": ")
			writeValue(b, c.Type, v.Payload)
		}
	case canon.Flags:
		for i, l := range t.Labels() {
			if v>>i&1 == 1 {
				b.WriteString(l + " ")
			}
		}
	case []byte:
		b.WriteString(strconv.Quote(string(v[:min(len(v), maxValue)])))
	case []canon.Value:
		writeValues(b, t, v)
	case canon.Char:
		b.WriteRune(rune(v))
	case canon.Handle:
		b.WriteString("a " + t.Resource().Name())
	default:
		fmt.Fprint(b, v)
	}
}

func writeValues(b *strings.Builder, t *types.Type, all []canon.Value) {
	fields := t.Fields()
	b.WriteByte('(')
	for i, v := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > maxValue {
			break
		}
		elem := t.Elem()
		if fields != nil {
			elem = fields[i].Type
			if name := fields[i].Name; name != "" {
				b.WriteString(name + ": ")
			}
		}
		writeValue(b, elem, v)
	}
	b.WriteByte(')')
}
