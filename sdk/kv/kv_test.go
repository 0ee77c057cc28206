package kv_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tenloom/tenloom/sdk/hosttest"
	"github.com/tenloom/tenloom/sdk/kv"
)

func TestStore(t *testing.T) {
	hosttest.Reset()
	hosttest.AddStore("second")
	for _, label := range []string{"default", "second"} {
		s, err := kv.Open(label)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get("key"); !errors.Is(err, kv.ErrNoSuchKey) {
			t.Errorf("%s: get of a missing key: %v", label, err)
		}
		if err := errors.Join(s.Set("key", []byte(label)), s.Set("gone", nil), s.Delete("gone"), s.Delete("never")); err != nil {
			t.Fatal(err)
		}
		value, err := s.Get("key")
		if err != nil || string(value) != label {
			t.Errorf("%s: get: %q, %v", label, value, err)
		}
		keys, err := s.Keys()
		if err != nil || !slices.Equal(keys, []string{"key"}) {
			t.Errorf("%s: keys: %v, %v", label, keys, err)
		}
		there, err := s.Exists("key")
		gone, err2 := s.Exists("gone")
		if !there || gone || err != nil || err2 != nil {
			t.Errorf("%s: exists: %v %v, %v %v", label, there, gone, err, err2)
		}
		s.Close()
		if err := s.Set("key", nil); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s: set after close: %v", label, err)
		}
	}
	if _, err := kv.Open("third"); !errors.Is(err, kv.ErrNoSuchStore) {
		t.Errorf("open of an unknown store: %v", err)
	}
}

func ExampleOpen() {
	hosttest.Reset()
	s, err := kv.Open("default")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(s.Set("colour", []byte("green")))
	_, err = s.Get("shape")
	fmt.Println(err)
	// Output:
	// <nil>
	// kv: get shape: no such key
}
