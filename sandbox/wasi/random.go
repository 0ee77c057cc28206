package wasi

import (
	"encoding/binary"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// randomInterfaces are wasi:random. What is called insecure there is as good as the rest.
func randomInterfaces() []host.Interface {
	return []host.Interface{
		{Name: "wasi:random/random" + version, Funcs: map[string]host.Func{
			"get-random-bytes": {Type: "func(len: u64) -> list<u8>", Call: randomBytes},
			"get-random-u64":   {Type: "func() -> u64", Call: randomU64},
		}},
		{Name: "wasi:random/insecure" + version, Funcs: map[string]host.Func{
			"get-insecure-random-bytes": {Type: "func(len: u64) -> list<u8>", Call: randomBytes},
			"get-insecure-random-u64":   {Type: "func() -> u64", Call: randomU64},
		}},
		{Name: "wasi:random/insecure-seed" + version, Funcs: map[string]host.Func{
			"insecure-seed": {Type: "func() -> tuple<u64, u64>", Call: randomSeed},
		}},
	}
}

// maxRandom bounds one draw, in bytes; more traps, because the answer must be of the length that was asked.
const maxRandom = 16 << 20

func randomBytes(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	n := in.U64()
	if n > maxRandom {
		canon.Trapf("%d random bytes are asked for at once, at most %d are given", n, maxRandom)
	}
	system(c).fill(out.Buffer(int(n)))
}

func randomU64(c *canon.Call, _ *canon.Reader, out *canon.Writer) { out.U64(system(c).draw()) }

func randomSeed(c *canon.Call, _ *canon.Reader, out *canon.Writer) {
	s := system(c)
	out.U64(s.draw())
	out.U64(s.draw())
}

func (s *System) draw() uint64 {
	var b [8]byte
	s.fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
