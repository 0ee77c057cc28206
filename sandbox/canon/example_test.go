package canon_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// A function of the host that guests import: publish(channel: string, payload: list<u8>) -> result<_, variant{ too-large, other(string) }>.
func publish(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	channel, payload := in.String(), in.Bytes()
	if len(payload) > 16 {
		out.Err()
		out.Case(1)
		out.String(fmt.Sprintf("%d bytes are too many for %s", len(payload), channel))
		return
	}
	fmt.Printf("%s: %s\n", channel, payload)
	out.OK()
}

func Example() {
	table := types.NewTable(types.Limits{})
	bytes, err := table.List(types.Primitive(types.U8))
	if err != nil {
		log.Fatal(err)
	}
	failure, err := table.Variant(types.Case{Name: "too-large"}, types.Case{Name: "other", Type: types.Primitive(types.String)})
	if err != nil {
		log.Fatal(err)
	}
	result, err := table.Result(nil, failure)
	if err != nil {
		log.Fatal(err)
	}
	f, err := table.Func([]types.Field{{Name: "channel", Type: types.Primitive(types.String)}, {Name: "payload", Type: bytes}}, result, false)
	if err != nil {
		log.Fatal(err)
	}

	program := canon.NewProgram([]int{-1}, canon.ProgramLimits{}) // one component instance
	compiled, err := program.Func(f)
	if err != nil {
		log.Fatal(err)
	}
	store := program.NewStore(canon.Limits{})
	instance := newGuest(1024)
	lower := store.NewLower(0, compiled, "publish", instance.options(canon.UTF8), publish)

	// What the guest does: channel "news" at 0, the payload at 8, the result at 64.
	copy(instance.b, "news")
	copy(instance.b[8:], "hello, and much more")
	instance.next = 128
	for _, size := range []uint64{5, 20} {
		lower.Call(context.Background(), []uint64{0, 4, 8, size, 64})
		fmt.Println(instance.b[64:80])
	}
	fmt.Printf("%s\n", instance.b[128:instance.next])
	// Output:
	// news: hello
	// [0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0]
	// [1 0 0 0 1 0 0 0 128 0 0 0 30 0 0 0]
	// 20 bytes are too many for news
}
