package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// golden reads testdata/hub/frames.golden.
func golden(t testing.TB) (streams, wants []string) {
	t.Helper()
	file, err := os.ReadFile("testdata/hub/frames.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSpace(string(file)), "\n\n")[1:] {
		in, want, found := strings.Cut(block, "\n---\n")
		stream, err := strconv.Unquote(in)
		if err != nil || !found {
			t.Fatalf("%v in %s", err, block)
		}
		streams, wants = append(streams, stream), append(wants, want)
	}
	return streams, wants
}

// transcript is what a reader with a buffer of size bytes makes of a stream.
func transcript(src io.Reader, size int) string {
	var out []string
	in := newFrameReader(size, maxFrame)
	for {
		var f frame
		raw, err := in.next(&f)
		switch {
		case err != nil:
		case raw == nil:
			_, err = in.fill(src)
		case f.kind != 0:
			out = append(out, fmt.Sprintf("%c pattern=%q channel=%q payload=%q", f.kind, f.pattern, f.channel, f.payload))
		default:
			var r reply
			if r, err = readReply(raw); err == nil {
				out = append(out, r.String())
			}
		}
		if errors.Is(err, io.EOF) {
			if in.r != in.w {
				out = append(out, fmt.Sprintf("and %d bytes", in.w-in.r))
			}
			return strings.Join(out, "\n")
		}
		if err != nil {
			return strings.Join(append(out, "error: "+err.Error()), "\n")
		}
	}
}

func (r reply) String() string {
	switch r.kind {
	case '-':
		return fmt.Sprintf("error %q", r.text)
	case 'a':
		return fmt.Sprintf("ack %s %q", r.verb, r.name)
	case 'p':
		return "pong"
	}
	return "push"
}

// TestFrames reads each stream whole, byte by byte, and through every small buffer.
func TestFrames(t *testing.T) {
	streams, wants := golden(t)
	for i, stream := range streams {
		for size := 1; size <= 2*len(stream); size++ {
			if got := transcript(strings.NewReader(stream), size); got != wants[i] {
				t.Fatalf("%q through a buffer of %d:\n%s\nwant\n%s", stream, size, got, wants[i])
			}
		}
		if got := transcript(iotest.OneByteReader(strings.NewReader(stream)), 64); got != wants[i] {
			t.Fatalf("%q byte by byte:\n%s\nwant\n%s", stream, got, wants[i])
		}
	}
}

// TestFramesCut cuts a stream of all well-formed frames at every place, in two reads.
func TestFramesCut(t *testing.T) {
	stream, want := wellFormed(t)
	for cut := range len(stream) {
		src := io.MultiReader(strings.NewReader(stream[:cut]), strings.NewReader(stream[cut:]))
		if got := transcript(src, len(stream)); got != want {
			t.Fatalf("cut at %d:\n%s\nwant\n%s", cut, got, want)
		}
	}
}

// TestFramesTruncated ends a stream at every place: what was whole is there, the rest is neither a frame nor an error.
func TestFramesTruncated(t *testing.T) {
	stream, want := wellFormed(t)
	for end := range len(stream) {
		got := transcript(strings.NewReader(stream[:end]), 64)
		lines, rest, _ := strings.Cut(got, "and ")
		if !strings.HasPrefix(want, strings.TrimSuffix(lines, "\n")) || strings.Contains(rest, "error") {
			t.Fatalf("ended at %d:\n%s\nwant\n%s", end, got, want)
		}
	}
}

func wellFormed(t testing.TB) (stream, want string) {
	var lines []string
	streams, wants := golden(t)
	for i := range streams {
		if !strings.Contains(wants[i], "error: ") {
			stream += streams[i]
			lines = append(lines, wants[i])
		}
	}
	return stream, strings.Join(lines, "\n")
}

// TestFrameSlicesAreCapped appends to each slice and finds the next frame unharmed.
func TestFrameSlicesAreCapped(t *testing.T) {
	in := newFrameReader(1<<10, maxFrame)
	if _, err := in.fill(strings.NewReader(">4\r\n$8\r\npmessage\r\n$1\r\np\r\n$1\r\nc\r\n$1\r\n1\r\n+PONG\r\n")); err != nil {
		t.Fatal(err)
	}
	var f frame
	raw, err := in.next(&f)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{f.pattern, f.channel, f.payload, raw} {
		_ = append(b, "overwritten"...)
	}
	if raw, err := in.next(&f); string(raw) != "+PONG\r\n" || err != nil || string(f.payload) != "1" {
		t.Fatalf("%q, %v, %q", raw, err, f.payload)
	}
}

func bigFrame(size int) string {
	return fmt.Sprintf(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size))
}

// TestBufferGrowsAndShrinks sends a large message between small ones.
func TestBufferGrowsAndShrinks(t *testing.T) {
	const small = 64
	src := strings.NewReader(bigFrame(1) + bigFrame(10*small) + bigFrame(2) + bigFrame(3))
	in := newFrameReader(small, 100*small)
	var sizes []int
	largest := 0
	for len(sizes) < 4 {
		var f frame
		raw, err := in.next(&f)
		if err == nil && raw == nil {
			_, err = in.fill(src)
			largest = max(largest, len(in.buf))
		}
		if err != nil {
			t.Fatal(err)
		}
		if raw != nil {
			sizes = append(sizes, len(f.payload))
		}
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int{1, 10 * small, 2, 3}) || largest < 10*small || largest > 32*small {
		t.Errorf("sizes %v, largest buffer %d", sizes, largest)
	}
	if _, err := in.fill(src); !errors.Is(err, io.EOF) || &in.buf[0] != &in.standing[0] {
		t.Errorf("%v; the buffer has %d bytes afterwards, want the standing one of %d", err, len(in.buf), small)
	}
}

// TestFrameBounds finds the largest message accepted and the next one refused before it is read.
func TestFrameBounds(t *testing.T) {
	head := len(bigFrame(8<<20)) - 8<<20
	if got := transcript(strings.NewReader(bigFrame(maxFrame-head)), readBuffer); strings.Contains(got, "error") {
		t.Errorf("a frame of %d bytes: %.100s", maxFrame, got)
	}
	in := newFrameReader(readBuffer, maxFrame)
	_, err := in.fill(strings.NewReader(bigFrame(maxFrame)[:100]))
	if _, perr := in.next(new(frame)); err != nil || !errors.Is(perr, errTooLarge) {
		t.Errorf("a longer one: %v, %v", err, perr)
	}
	endless := io.MultiReader(strings.NewReader("-"), bytes.NewReader(make([]byte, 4*maxReply)))
	if got := transcript(endless, 1<<10); !strings.Contains(got, errTooLarge.Error()) {
		t.Errorf("an endless error reply: %.100s", got)
	}
}

func FuzzFrames(f *testing.F) {
	streams, _ := golden(f)
	for _, s := range streams {
		f.Add(s, 7)
	}
	// Where a frame is malformed in more than one way, which one is seen first depends on the cut.
	first := func(transcript string) string {
		if i := strings.LastIndex(transcript, "error: malformed frame"); i >= 0 {
			return transcript[:i] + "malformed"
		}
		return transcript
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		size = 1 + max(size, -size)&0xfff
		whole := first(transcript(strings.NewReader(stream), len(stream)+1))
		if got := first(transcript(strings.NewReader(stream), size)); got != whole {
			t.Errorf("through a buffer of %d:\n%s\nwhole:\n%s", size, got, whole)
		}
		if got := first(transcript(iotest.HalfReader(strings.NewReader(stream)), size)); got != whole {
			t.Errorf("in small reads through a buffer of %d:\n%s\nwhole:\n%s", size, got, whole)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			block := []byte(strings.Repeat(bigFrame(size), 64<<10/size))
			var f frame
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				n, err := parse(block[at:], &f)
				if err != nil || n == 0 {
					b.Fatal(n, err)
				}
				if at += n; at == len(block) {
					at = 0
				}
			}
		})
	}
}

var epoch = time.Now() // for tests that need some time
