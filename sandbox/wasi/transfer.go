package wasi

import (
	"io"
	"net"
	"sync"

	"github.com/tenloom/tenloom/sandbox/spin"
)

// piece is how much is fetched or sent at once beside a guest, in bytes: what a stream holds at most.
const piece = 16 << 10

// fetched is an input whose bytes a goroutine fetches: one piece at a time, when the guest asks. The goroutine ends with the piece, or when from
// is closed, which whoever owns it does.
type fetched struct {
	system *System
	name   string // of the function that the bytes are counted for
	from   io.Reader
	wrap   func(error) error // makes the error of a stream; nil keeps it

	space []byte

	mu   sync.Mutex // guards what follows
	busy bool
	left []byte
	err  error
}

func (f *fetched) ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.left) > 0 || f.err != nil {
		return true
	}
	if !f.busy {
		f.busy = true
		if f.space == nil {
			f.space = make([]byte, piece)
		}
		go f.fetch(f.space)
	}
	return false
}

func (f *fetched) fetch(space []byte) {
	n, err := f.from.Read(space)
	f.mu.Lock()
	f.left, f.err, f.busy = space[:n], err, false
	f.mu.Unlock()
	f.system.progress()
}

func (f *fetched) read(most int) ([]byte, error) {
	if !f.ready() {
		return nil, nil
	}
	f.mu.Lock()
	b := f.left[:min(most, len(f.left))]
	f.left = f.left[len(b):]
	err := f.err
	f.mu.Unlock()
	if len(b) > 0 {
		f.system.Call.Receives(f.name, len(b))
		return b, nil
	}
	if f.wrap != nil && err != io.EOF {
		err = f.wrap(err)
	}
	return nil, err
}

// ended tells whether the end was seen.
func (f *fetched) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err == io.EOF && len(f.left) == 0
}

// sent is an output whose bytes a goroutine sends: one piece at a time. The goroutine ends with the piece, or when to is closed, which whoever
// owns it does.
type sent struct {
	call   *spin.Call
	system *System
	name   string
	to     net.Conn
	wrap   func(error) error // makes the error of a stream

	mu   sync.Mutex // guards what follows
	busy bool
	shut bool
	err  error // io.EOF: nobody takes more
}

func (s *sent) state() (busy bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy, s.err
}

func (s *sent) ready() bool {
	busy, err := s.state()
	return !busy || err != nil
}

func (s *sent) flushed() bool {
	busy, _ := s.state()
	return !busy
}

func (s *sent) room() (int, error) {
	busy, err := s.state()
	switch {
	case err != nil:
		return 0, err
	case busy:
		return 0, nil
	}
	return piece, nil
}

func (s *sent) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.call.Sends(s.name, len(b))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.busy = true
	go s.send(append(make([]byte, 0, len(b)), b...))
	return nil
}

func (s *sent) send(b []byte) {
	_, err := s.to.Write(b)
	s.mu.Lock()
	s.busy = false
	if s.err == nil && err != nil {
		s.err = s.wrap(err)
	}
	if s.shut {
		s.closeWrite()
	}
	s.mu.Unlock()
	s.system.progress()
}

// shutdown takes nothing more, and tells the other side so once everything is sent.
func (s *sent) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return
	}
	s.shut, s.err = true, io.EOF
	if !s.busy {
		s.closeWrite()
	}
}

func (s *sent) closeWrite() {
	if c, ok := s.to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // one that fails has ended otherwise
	}
}

// admit counts one more connection or exchange of the instance, of as many as the invocation's Limits.Connections; false where it has all.
func (s *System) admit() bool {
	if s.Call == nil || s.open >= s.Call.Limit().Connections {
		return false
	}
	s.open++
	return true
}
