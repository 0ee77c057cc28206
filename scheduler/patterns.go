package scheduler

import (
	"iter"
	"slices"
)

// patternSet finds those of its patterns that match a channel without looking at all: what a pattern begins with literally is looked up, for each
// length that there is. Its zero value is an empty set.
type patternSet struct {
	begins  map[string][]pattern
	lengths []int       // of what they begin with, ascending, each once
	uses    map[int]int // patterns of each length
}

type pattern struct {
	*target
	name []byte // what frames are given
}

func (p *patternSet) add(x *target) {
	if p.begins == nil {
		p.begins, p.uses = map[string][]pattern{}, map[int]int{}
	}
	begin := literal(x.Name)
	p.begins[begin] = append(p.begins[begin], pattern{x, []byte(x.Name)})
	if p.uses[len(begin)]++; p.uses[len(begin)] == 1 {
		i, _ := slices.BinarySearch(p.lengths, len(begin))
		p.lengths = slices.Insert(p.lengths, i, len(begin))
	}
}

func (p *patternSet) remove(x *target) {
	begin := literal(x.Name)
	all := p.begins[begin]
	i := slices.IndexFunc(all, func(o pattern) bool { return o.target == x })
	if i < 0 {
		return
	}
	if p.begins[begin] = slices.Delete(all, i, i+1); len(all) == 1 {
		delete(p.begins, begin)
	}
	if p.uses[len(begin)]--; p.uses[len(begin)] == 0 {
		delete(p.uses, len(begin))
		at, _ := slices.BinarySearch(p.lengths, len(begin))
		p.lengths = slices.Delete(p.lengths, at, at+1)
	}
}

func (p *patternSet) empty() bool { return len(p.begins) == 0 }

// all goes over the patterns, in no order.
func (p *patternSet) all() iter.Seq[*target] {
	return func(yield func(*target) bool) {
		for _, patterns := range p.begins {
			for _, x := range patterns {
				if !yield(x.target) {
					return
				}
			}
		}
	}
}

// match appends the names of the patterns that match a channel and that ask lets through.
func (p *patternSet) match(channel []byte, into [][]byte, ask func(*target) bool) [][]byte {
	for _, n := range p.lengths {
		if n > len(channel) {
			break
		}
		for _, x := range p.begins[string(channel[:n])] {
			if ask(x.target) && Match(x.Name, channel) {
				into = append(into, x.name)
			}
		}
	}
	return into
}
