package component_test

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

func Example() {
	text, err := os.ReadFile("testdata/data/plan.json")
	if err != nil {
		panic(err)
	}
	var script struct{ Commands []struct{ Wasm []byte } }
	if err := json.Unmarshal(text, &script); err != nil {
		panic(err)
	}

	c, err := component.Decode(script.Commands[0].Wasm, component.Accept{})
	if err != nil {
		panic(err)
	}
	plan, err := c.Plan([]component.Offer{{
		Interface: "ns:kv/store@0.2.6",
		Funcs:     map[string]*types.Func{"[static]connection.open": nil, "[method]connection.get": nil},
		Resources: []string{"connection"},
	}})
	if err != nil {
		panic(err)
	}
	for i, instance := range plan.Instances {
		fmt.Println(component.InstanceName(i), plan.Modules[instance.Module].Imports)
	}
	iface, handler, err := plan.Handler()
	fmt.Println(iface, handler.Lift.Callee, err)
	// Output:
	// i0 []
	// i1 [i0."0" h."c0"]
	// i2 [i0."$imports" h."c1"]
	// fermyon:spin/inbound-redis i1."run" <nil>
}
