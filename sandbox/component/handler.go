package component

import (
	"errors"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Why a plan has no one handler, in Spin's words.
var (
	ErrNoHandler    = errors.New("component does not export a Redis interface")
	ErrManyHandlers = errors.New("component exports multiple Redis interfaces")
)

// The interfaces through which components take messages from Redis, each with the function handle-message.
const (
	HandlerV1 = "fermyon:spin/inbound-redis"     // func(message: list<u8>) -> result<_, error>
	HandlerV3 = "spin:redis/inbound-redis@3.0.0" // async func of the same shape
	handle    = "handle-message"
)

// Handler finds the function that takes messages and the interface, HandlerV1 or HandlerV3, that exports it; it may be lifted by a component further
// in. The error wraps ErrNoHandler or ErrManyHandlers, or says that the function has another type.
func (p *Plan) Handler() (iface string, fn *Func, err error) {
	for _, e := range p.Exports {
		for _, h := range []string{HandlerV1, HandlerV3} {
			f, ok := p.Export(e.Name, handle)
			if !ok || !Compatible(h, e.Name) {
				continue
			}
			if fn != nil {
				return "", nil, fmt.Errorf("%w: %s and %s", ErrManyHandlers, iface, h)
			}
			iface, fn = h, f
		}
	}
	if fn == nil {
		return "", nil, fmt.Errorf("%w: neither %s nor %s has a function %s", ErrNoHandler, HandlerV1, HandlerV3, handle)
	}
	if params, result := fn.Type.Params(), fn.Type.Result(); len(params) != 1 || !isBytes(params[0].Type) ||
		result == nil || result.Kind() != types.Result || result.Cases()[0].Type != nil || result.Cases()[1].Type == nil {
		return "", nil, fmt.Errorf("%s %s has the type %s, func(list<u8>) -> result<_, error> was expected", iface, handle, fn.Type)
	}
	return iface, fn, nil
}

func isBytes(t *types.Type) bool {
	return t.Kind() == types.List && t.Elem().Kind() == types.U8
}
