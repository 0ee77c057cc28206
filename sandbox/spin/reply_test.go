package spin

import (
	"bytes"
	"io"
	"testing"
)

// FuzzReply reads whatever a server might send. The reader is not exported, hence this file's package.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", "-ERR no\r\n", ":1\r\n", "$3\r\na\r\n\r\n", "$-1\r\n", "*2\r\n:1\r\n*1\r\n$0\r\n\r\n", "*-1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
		"(12\r\n", "!2\r\nno\r\n", "=5\r\ntxt:a\r\n", "%1\r\n+a\r\n+b\r\n", "|1\r\n+a\r\n+b\r\n:1\r\n", "~1\r\n+a\r\n", ">1\r\n+a\r\n",
		"*9223372036854775807\r\n", "$9223372036854775807\r\n", "*4294967296\r\n*4294967296\r\n", "\r\n", "*1\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		it, rest, err := first(raw)
		if err != nil {
			return
		}
		n, err := countResults(it, rest, 1<<20)
		if n > uint64(len(raw)) {
			t.Errorf("%d results in %d bytes", n, len(raw))
		}
		if err != nil {
			return
		}
		var seen uint64
		err = flatten(it, rest, func(item) error {
			seen++
			return nil
		})
		if err != nil || seen != n {
			t.Errorf("counted %d, then %d, %v", n, seen, err)
		}
	})
}

// A reply is cut off at the limit whatever pieces it comes in.
func TestReplyBufferIsBounded(t *testing.T) {
	const limit = 100
	tests := []struct {
		name string
		feed func(*replyBuffer) error
		ok   bool
	}{
		{"a line", func(r *replyBuffer) error { _, err := r.Write(make([]byte, 100)); return err }, true},
		{"a longer line", func(r *replyBuffer) error { _, err := r.Write(make([]byte, 101)); return err }, false},
		{"announced", func(r *replyBuffer) error {
			_, err := io.CopyN(r, bytes.NewReader(nil), 101)
			return err
		}, false},
		{"not announced", func(r *replyBuffer) error { _, err := r.ReadFrom(bytes.NewReader(make([]byte, 101))); return err }, false},
		{"to the brim", func(r *replyBuffer) error { _, err := io.CopyN(r, bytes.NewReader(make([]byte, 100)), 100); return err }, true},
	}
	for _, tt := range tests {
		r := &replyBuffer{limit: limit}
		if err := tt.feed(r); (err == nil) != tt.ok || !tt.ok && err != errReplyTooBig {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
