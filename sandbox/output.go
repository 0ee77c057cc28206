package sandbox

import (
	"bytes"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/telemetry"
)

// Line is one line of a guest's output, as the guest wrote it: any byte but the line feed that ended it.
type Line struct {
	Stream telemetry.Stream
	Text   []byte // valid during the call
	Cut    bool   // the guest's line goes on: it was split at 8 KiB, or the output's bound came

	Attributes spin.Attributes // of the Call that printed it, during which they are valid; nil where it has none

	Platform bool // not the guest's line but the platform's word about its lines, on another goroutine
}

// MaxLine is the length in bytes at which a line is split.
const MaxLine = 8 << 10

// printer splits what a guest writes to one stream into lines. It holds one unfinished line and nothing else.
type printer struct {
	stream    telemetry.Stream
	bound     int64      // bytes that may be written
	left      int64      // of them; beyond they are counted and lost
	truncated int64      // bytes lost
	lines     func(Line) // nil drops the lines
	partial   []byte     // the unfinished line, at most MaxLine
	kept      *kept      // shared by both streams
	of        spin.Attributes
}

// begin makes it ready for another message.
func (p *printer) begin(bound int64, of spin.Attributes) {
	p.bound, p.left, p.truncated, p.partial, p.of = bound, bound, 0, p.partial[:0], of
}

// wrote tells whether the guest has written anything since.
func (p *printer) wrote() bool { return p.left < p.bound || p.truncated > 0 }

// Write implements io.Writer. The guest is told that all was written, whatever became of it.
func (p *printer) Write(b []byte) (int, error) {
	all := len(b)
	if int64(len(b)) > p.left {
		p.truncated += int64(len(b)) - p.left
		b = b[:p.left]
	}
	if len(b) == 0 {
		return all, nil
	}
	p.left -= int64(len(b))
	p.kept.write(b)
	for len(b) > 0 {
		b = p.next(b)
	}
	return all, nil
}

// next takes one line, or a piece of one, from the front of b. What is complete goes out as it lies there, without a copy.
func (p *printer) next(b []byte) []byte {
	room := MaxLine - len(p.partial)
	end := bytes.IndexByte(b[:min(len(b), room+1)], '\n')
	switch {
	case end >= 0:
		p.emit(b[:end], false)
		return b[end+1:]
	case len(b) > room:
		p.emit(b[:room], true)
		return b[room:]
	}
	p.partial = append(p.partial, b...)
	return nil
}

func (p *printer) emit(text []byte, cut bool) {
	if len(p.partial) > 0 {
		p.partial = append(p.partial, text...)
		text = p.partial
	}
	if p.lines != nil {
		p.lines(Line{Stream: p.stream, Text: text, Cut: cut, Attributes: p.of})
	}
	p.partial = p.partial[:0]
}

// flush ends the last line, which no line feed ended.
func (p *printer) flush() {
	if len(p.partial) > 0 {
		p.emit(nil, p.truncated > 0)
	}
}

// kept is the beginning of both streams, in the order of writing.
type kept struct {
	bytes []byte
	most  int
}

func (k *kept) write(b []byte) {
	if room := k.most - len(k.bytes); room > 0 {
		k.bytes = append(k.bytes, b[:min(room, len(b))]...)
	}
}
