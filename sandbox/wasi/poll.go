package wasi

import (
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

func pollInterface() host.Interface {
	return host.Interface{Name: "wasi:io/poll" + version, Resources: drops("pollable"), Funcs: map[string]host.Func{
		"[method]pollable.ready": {Type: "func(self: borrow<pollable>) -> bool", Call: pollableReady},
		"[method]pollable.block": {Type: "func(self: borrow<pollable>)", Call: pollableBlock},
		"poll":                   {Type: "func(in: list<borrow<pollable>>) -> list<u32>", Call: poll},
	}}
}

// pollable is a moment, or something that gets ready by itself and then calls System.progress. What it is about may be dropped before it.
type pollable struct {
	at time.Time
	of interface{ ready() bool } // nil where it is a moment; ready is what begins the work in the background, where there is some
}

func (p *pollable) ready() bool {
	if p.of != nil {
		return p.of.ready()
	}
	return !time.Now().Before(p.at)
}

func pollableReady(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Bool(canon.Borrow[*pollable](in).ready())
}

func pollableBlock(c *canon.Call, in *canon.Reader, _ *canon.Writer) {
	p := canon.Borrow[*pollable](in)
	system(c).await(c.Context(), p.at, p.ready)
}

// poll answers the indices of all that are ready, at least one.
func poll(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	all := make([]*pollable, in.List())
	if len(all) == 0 {
		canon.Trapf("poll is called with an empty list, which would wait for ever")
	}
	var first time.Time // of the moments
	for i := range all {
		p := canon.Borrow[*pollable](in)
		if all[i] = p; !p.at.IsZero() && (first.IsZero() || p.at.Before(first)) {
			first = p.at
		}
	}
	var ready []uint32
	system(c).await(c.Context(), first, func() bool {
		for i, p := range all {
			if p.ready() {
				ready = append(ready, uint32(i))
			}
		}
		return len(ready) > 0
	})
	out.List(len(ready))
	for _, i := range ready {
		out.U32(i)
	}
}
