package rewrite

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// walk is one random way through a function, taking each branch or not as chance has it, that counts what it passes and what it is charged.
type walk struct {
	*rand.Rand
	m         *module
	free      []uint32
	f         *measure
	body      []instruction
	match     []int // for each block, loop, if and else the index of the instruction that its code goes on to when it is left out
	ends      []int // for each block, loop and if the index of its end
	loops     []int // for each loop its number
	landings  []int // for each else and end its landing, -1 where it has none
	blocks    []int // open ones
	paid, ran int
}

// index decodes the body and finds what belongs together.
func (w *walk) index(r reader) {
	var in instruction
	var open []int
	loops, landings := 0, 0
	for done := false; !done; {
		r.next(&in)
		i := len(w.body)
		w.body = append(w.body, in)
		w.match, w.ends, w.loops, w.landings = append(w.match, -1), append(w.ends, -1), append(w.loops, -1), append(w.landings, -1)
		switch in.op {
		case opBlock, opIf, opLoop:
			open = append(open, i)
			if in.op == opLoop {
				w.loops[i] = loops
				loops++
			}
		case opElse:
			w.match[open[len(open)-1]] = i
			w.landings[i] = landings
			landings++
		case opEnd:
			if len(open) == 0 {
				done = true
				break
			}
			begin := open[len(open)-1]
			open = open[:len(open)-1]
			w.ends[begin] = i
			if w.body[begin].op != opLoop {
				w.landings[i] = landings
				landings++
			}
			if w.match[begin] >= 0 { // its else
				w.ends[w.match[begin]] = i
			}
		}
	}
}

func (w *walk) land(i int) {
	if w.landings[i] >= 0 {
		w.paid += int(w.f.landings[w.landings[i]])
	}
}

// branch goes to a label and tells the next instruction, or that the function is left.
func (w *walk) branch(label int) (next int, left bool) {
	if label >= len(w.blocks) {
		return 0, true
	}
	w.blocks = w.blocks[:len(w.blocks)-label]
	to := w.blocks[len(w.blocks)-1]
	if w.body[to].op == opLoop {
		w.paid += int(w.f.loops[w.loops[to]].head)
		return to + 1, false
	}
	return w.ends[to], false
}

// run goes at most so many steps.
func (w *walk) run(t *testing.T, steps int) {
	w.paid, w.ran, w.blocks = int(w.f.entry.head), 0, w.blocks[:0]
	for i := 0; steps > 0; steps-- {
		in := &w.body[i]
		w.ran += int(units(in))
		if callee := int(in.x) - w.m.imported.functions; in.op == opCall && callee >= 0 && w.free[callee] != heavy {
			w.ran += int(w.free[callee])
		}
		if w.ran > w.paid {
			t.Fatalf("byte %d: %d units were passed, %d paid", in.at, w.ran, w.paid)
		}
		next, left := i+1, false
		switch in.op {
		case opBlock:
			w.blocks = append(w.blocks, i)
		case opLoop:
			w.blocks = append(w.blocks, i)
			w.paid += int(w.f.loops[w.loops[i]].head)
		case opIf:
			w.blocks = append(w.blocks, i)
			if w.IntN(2) == 0 {
				next = w.ends[i]
				if w.match[i] >= 0 {
					next = w.match[i] + 1
					w.land(w.match[i])
				}
			}
		case opElse: // the end of what stands before it
			next = w.ends[i]
		case opEnd:
			if len(w.blocks) == 0 {
				return
			}
			w.blocks = w.blocks[:len(w.blocks)-1]
			w.land(i)
		case opBr:
			next, left = w.branch(int(in.x))
		case opBrIf:
			if w.IntN(2) == 0 {
				next, left = w.branch(int(in.x))
			}
		case opBrTable:
			labels := reader{bytes: w.m.wasm, at: in.labels}
			label := labels.u32()
			for range w.IntN(int(in.x) + 1) {
				label = labels.u32()
			}
			next, left = w.branch(int(label))
		case opReturn, opReturnCall, opReturnCallIndirect, opUnreachable:
			return
		}
		if left {
			return
		}
		i = next
	}
}

// Whatever way control takes through a function, no instruction is reached that was not paid for.
func TestEveryWayIsPaid(t *testing.T) {
	work := filepath.Join(t.TempDir(), "work.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-o", work, "./testdata/work")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ran, paid := 0, 0
	for _, file := range []string{"testdata/loops.wasm", "testdata/rolled.wasm", work} {
		wasm, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := survey(wasm, Options{Limits: Limits{}.withDefaults()})
		if err != nil {
			t.Fatal(err)
		}
		free := m.freeFunctions()
		random := rand.New(rand.NewPCG(1, 2))
		var f measure
		for i, b := range m.bodies {
			r := reader{bytes: wasm[:b.end], at: b.at, function: i}
			for range r.u32() {
				r.u32()
				r.byte()
			}
			f.of(m, free, r)
			w := &walk{Rand: random, m: m, free: free, f: &f}
			w.index(r)
			for range 10 {
				w.run(t, 2000)
				ran += w.ran
				paid += w.paid
			}
		}
	}
	t.Logf("%d units on all ways, %d paid", ran, paid)
	if ran == 0 {
		t.Error("nothing was walked")
	}
}
