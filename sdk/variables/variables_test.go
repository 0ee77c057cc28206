package variables_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sdk/hosttest"
	"github.com/tenloom/tenloom/sdk/variables"
)

func TestGet(t *testing.T) {
	hosttest.Reset()
	hosttest.SetVariable("a_1_b", "value")
	hosttest.SetVariable("empty", "")
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"a_1_b", "value", nil},
		{"empty", "", nil},
		{"missing", "", variables.ErrUndefined},
		{"", "", variables.ErrInvalidName},
		{"aX", "", variables.ErrInvalidName},
		{"1bc", "", variables.ErrInvalidName},
		{"_x", "", variables.ErrInvalidName},
		{"x.y", "", variables.ErrInvalidName},
		{"x_", "", variables.ErrInvalidName},
		{"a__b", "", variables.ErrInvalidName},
	} {
		got, err := variables.Get(c.name)
		if got != c.want || !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), "variable "+c.name) {
			t.Errorf("%q: %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestMust(t *testing.T) {
	hosttest.Reset()
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, variables.ErrUndefined) {
			t.Errorf("panicked with %v", err)
		}
	}()
	t.Error(variables.Must("missing"))
}

func ExampleGet() {
	hosttest.Reset()
	hosttest.SetVariable("region", "eu")
	region, err := variables.Get("region")
	fmt.Println(region, err)
	_, err = variables.Get("colour")
	fmt.Println(errors.Is(err, variables.ErrUndefined))
	// Output:
	// eu <nil>
	// true
}
