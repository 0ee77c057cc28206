package wasi

import (
	"errors"
	"io"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// ioInterfaces are wasi:io.
func ioInterfaces() []host.Interface {
	return []host.Interface{
		{Name: "wasi:io/error" + version, Resources: drops("error"), Funcs: map[string]host.Func{
			"[method]error.to-debug-string": {Type: "func(self: borrow<error>) -> string", Call: errorText},
		}},
		pollInterface(),
		{
			Name: "wasi:io/streams" + version, Resources: drops("input-stream", "output-stream", "pollable", "error"),
			Types: map[string]string{"stream-error": "variant<last-operation-failed(own<error>), closed>"},
			Funcs: map[string]host.Func{
				"[method]input-stream.read":                             {Type: "func(self: borrow<input-stream>, len: u64) -> result<list<u8>, stream-error>", Call: streamRead},
				"[method]input-stream.blocking-read":                    {Type: "func(self: borrow<input-stream>, len: u64) -> result<list<u8>, stream-error>", Call: streamBlockingRead},
				"[method]input-stream.skip":                             {Type: "func(self: borrow<input-stream>, len: u64) -> result<u64, stream-error>", Call: streamSkip},
				"[method]input-stream.blocking-skip":                    {Type: "func(self: borrow<input-stream>, len: u64) -> result<u64, stream-error>", Call: streamBlockingSkip},
				"[method]input-stream.subscribe":                        {Type: "func(self: borrow<input-stream>) -> own<pollable>", Call: subscribe[input]},
				"[method]output-stream.check-write":                     {Type: "func(self: borrow<output-stream>) -> result<u64, stream-error>", Call: streamCheckWrite},
				"[method]output-stream.write":                           {Type: "func(self: borrow<output-stream>, contents: list<u8>) -> result<_, stream-error>", Call: streamWrite},
				"[method]output-stream.blocking-write-and-flush":        {Type: "func(self: borrow<output-stream>, contents: list<u8>) -> result<_, stream-error>", Call: streamWriteAndFlush},
				"[method]output-stream.flush":                           {Type: "func(self: borrow<output-stream>) -> result<_, stream-error>", Call: streamFlush},
				"[method]output-stream.blocking-flush":                  {Type: "func(self: borrow<output-stream>) -> result<_, stream-error>", Call: streamBlockingFlush},
				"[method]output-stream.subscribe":                       {Type: "func(self: borrow<output-stream>) -> own<pollable>", Call: subscribe[output]},
				"[method]output-stream.write-zeroes":                    {Type: "func(self: borrow<output-stream>, len: u64) -> result<_, stream-error>", Call: streamWriteZeroes},
				"[method]output-stream.blocking-write-zeroes-and-flush": {Type: "func(self: borrow<output-stream>, len: u64) -> result<_, stream-error>", Call: streamWriteZeroesAndFlush},
				"[method]output-stream.splice":                          {Type: "func(self: borrow<output-stream>, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>", Call: streamSplice},
				"[method]output-stream.blocking-splice":                 {Type: "func(self: borrow<output-stream>, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>", Call: streamBlockingSplice},
			},
		},
	}
}

// input is an input-stream. A read that finds nothing yet gives nil and no error; io.EOF is the end. ready tells whether a read would find
// something, the end included, and begins to fetch it.
type input interface {
	ready() bool
	read(most int) ([]byte, error) // valid until the next call
}

// output is an output-stream. A write is of room bytes at most and does not wait; its bytes may be changed by the guest afterwards. io.EOF says
// that nobody takes it any more.
type output interface {
	ready() bool // whether there is room
	room() (int, error)
	write(b []byte) error
	flushed() bool // whether all that was written has gone, or cannot
}

// failure is the object of an error resource.
type failure struct{ err error }

func errorText(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.String(canon.Borrow[*failure](in).err.Error())
}

// chunk is how much is read, skipped or written at once, in bytes.
const chunk = 64 << 10

// failStream writes the error of a stream.
func failStream(out *canon.Writer, err error) {
	out.Err()
	if errors.Is(err, io.EOF) {
		out.Case(1)
		return
	}
	out.Case(0)
	out.Own(&failure{err})
}

// doneStream writes the result of what gives nothing.
func doneStream(out *canon.Writer, err error) {
	if err != nil {
		failStream(out, err)
		return
	}
	out.OK()
}

func countStream(out *canon.Writer, n int, err error) {
	if err != nil && n == 0 {
		failStream(out, err)
		return
	}
	out.OK()
	out.U64(uint64(n))
}

func bytesStream(out *canon.Writer, b []byte, err error) {
	if err != nil && len(b) == 0 {
		failStream(out, err)
		return
	}
	out.OK()
	out.Bytes(b)
}

// subscribe gives a pollable of what is borrowed.
func subscribe[T interface{ ready() bool }](_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Own(&pollable{of: canon.Borrow[T](in)})
}

// wait returns when the stream is ready.
func wait(c *canon.Call, of interface{ ready() bool }) {
	system(c).await(c.Context(), time.Time{}, of.ready)
}

func readAtMost(from input, n uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	return from.read(int(min(n, chunk)))
}

func streamRead(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	from := canon.Borrow[input](in)
	b, err := readAtMost(from, in.U64())
	bytesStream(out, b, err)
}

func streamBlockingRead(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	from, n := canon.Borrow[input](in), in.U64()
	if n > 0 {
		wait(c, from)
	}
	b, err := readAtMost(from, n)
	bytesStream(out, b, err)
}

func streamSkip(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	from := canon.Borrow[input](in)
	b, err := readAtMost(from, in.U64())
	countStream(out, len(b), err)
}

func streamBlockingSkip(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	from, n := canon.Borrow[input](in), in.U64()
	if n > 0 {
		wait(c, from)
	}
	b, err := readAtMost(from, n)
	countStream(out, len(b), err)
}

func streamCheckWrite(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	n, err := canon.Borrow[output](in).room()
	if err != nil {
		failStream(out, err)
		return
	}
	out.OK()
	out.U64(uint64(n))
}

func streamWrite(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, b := canon.Borrow[output](in), in.Bytes()
	doneStream(out, writeWhole(to, b))
}

// writeWhole is a write that does not wait: the guest has asked before how much room there is.
func writeWhole(to output, b []byte) error {
	room, err := to.room()
	if err != nil {
		return err
	}
	if len(b) > room {
		canon.Trapf("%d bytes are written to a stream where check-write permits %d", len(b), room)
	}
	return to.write(b)
}

// streamWriteAndFlush takes any length, where the interface asks for 4,096 at most.
func streamWriteAndFlush(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, b := canon.Borrow[output](in), in.Bytes()
	for len(b) > 0 {
		n, err := writeSome(c, to, b)
		if err != nil {
			failStream(out, err)
			return
		}
		b = b[n:]
	}
	doneStream(out, flush(c, to))
}

// writeSome waits for room and writes as much as there is room for.
func writeSome(c *canon.Call, to output, b []byte) (int, error) {
	wait(c, to)
	room, err := to.room()
	if err != nil {
		return 0, err
	}
	n := min(room, len(b))
	return n, to.write(b[:n])
}

// flush waits until all has gone. That it cannot shows in the room.
func flush(c *canon.Call, to output) error {
	system(c).await(c.Context(), time.Time{}, to.flushed)
	_, err := to.room()
	return err
}

// streamFlush begins what a later check-write or poll sees the end of: everything is on its way as soon as it is written.
func streamFlush(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	_, err := canon.Borrow[output](in).room()
	doneStream(out, err)
}

func streamBlockingFlush(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	doneStream(out, flush(c, canon.Borrow[output](in)))
}

// zeroes is what write-zeroes writes. It is not changed.
var zeroes [chunk]byte

func streamWriteZeroes(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, n := canon.Borrow[output](in), in.U64()
	room, err := to.room()
	if err == nil && n > uint64(room) {
		canon.Trapf("%d zeroes are written to a stream where check-write permits %d", n, room)
	}
	for ; err == nil && n > 0; n -= min(n, chunk) {
		err = to.write(zeroes[:min(n, chunk)])
	}
	doneStream(out, err)
}

func streamWriteZeroesAndFlush(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, n := canon.Borrow[output](in), in.U64()
	if n > printable {
		canon.Trapf("%d zeroes are written at once, at most %d are taken", n, printable)
	}
	for n > 0 {
		written, err := writeSome(c, to, zeroes[:min(n, chunk)])
		if err != nil {
			failStream(out, err)
			return
		}
		n -= uint64(written)
	}
	doneStream(out, flush(c, to))
}

func streamSplice(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, from, n := canon.Borrow[output](in), canon.Borrow[input](in), in.U64()
	moved, err := splice(to, from, n)
	countStream(out, moved, err)
}

func streamBlockingSplice(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	to, from, n := canon.Borrow[output](in), canon.Borrow[input](in), in.U64()
	if n > 0 {
		wait(c, to)
		wait(c, from)
	}
	moved, err := splice(to, from, n)
	countStream(out, moved, err)
}

// splice moves what is there and has room.
func splice(to output, from input, n uint64) (int, error) {
	room, err := to.room()
	if err != nil {
		return 0, err
	}
	b, err := readAtMost(from, min(n, uint64(room)))
	if err != nil {
		return 0, err
	}
	return len(b), to.write(b)
}
