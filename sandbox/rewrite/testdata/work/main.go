// A guest in plain Go for the benchmarks: what handlers do with their messages.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

type order struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Tags  []string          `json:"tags"`
	Price float64           `json:"price"`
	Extra map[string]string `json:"extra"`
}

//go:wasmexport json
func roundTrip(n uint32) uint32 {
	o := order{7, "a name of some length", []string{"red", "green", "blue"}, 12.5, map[string]string{"a": "one", "b": "two"}}
	total := 0
	for range n {
		text, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		var back order
		if err := json.Unmarshal(text, &back); err != nil {
			panic(err)
		}
		total += len(text) + len(back.Tags)
	}
	return uint32(total)
}

//go:wasmexport sha
func sha(n uint32) uint32 {
	data := make([]byte, 4096)
	for range n {
		digest := sha256.Sum256(data)
		copy(data, digest[:])
	}
	return uint32(data[0])<<8 | uint32(data[1])
}

//go:wasmexport sort
func sorting(n uint32) uint32 {
	values := make([]int, 1000)
	total := 0
	for range n {
		x := uint32(1)
		for i := range values {
			x = x*1664525 + 1013904223
			values[i] = int(x >> 8)
		}
		sort.Ints(values)
		total += values[0]
	}
	return uint32(total)
}

//go:wasmexport strings
func text(n uint32) uint32 {
	total := 0
	for i := range n {
		var b strings.Builder
		for word := range strings.FieldsSeq("the quick brown fox jumps over the lazy dog and runs away") {
			b.WriteString(strings.ToUpper(word))
			b.WriteByte(' ')
		}
		line := strings.ReplaceAll(b.String(), "DOG", "CAT")
		total += len(fmt.Sprintf("%d %s", i, line)) + strings.Index(line, "AWAY")
	}
	return uint32(total)
}

func main() {}
