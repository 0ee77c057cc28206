package api

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/tenloom/tenloom/tenants/store"
)

const (
	idempotencyKey = "Idempotency-Key"
	replayedHeader = "Idempotent-Replayed"
)

// Bounds of requests with an Idempotency-Key.
const (
	maxAnswerKept  = store.MaxAnswer // bytes of one answer; a longer one is not kept, and its key is refused until it is forgotten
	maxKey         = 255             // bytes
	maxRunningKeys = 1_000           // requests with a key that run at once
)

// answers remember the first answer to each Idempotency-Key of each caller for store.RememberedFor, so that a request that is sent again is not
// done again.
type answers interface {
	// begin returns what is known of a key, or notes that it is being done and returns nil; then end is called.
	begin(c *call, key string) (*replay, error)
	// end keeps an answer, or, with nil, forgets the key, because the request may be tried again.
	end(c *call, key string, keep *replay)
}

// replay is what is known of one key.
type replay struct {
	done   bool
	lost   bool // the answer was too long to keep
	sum    [sha256.Size]byte
	status int
	header http.Header
	body   []byte
}

// once does a request with an Idempotency-Key, unless it was done before.
func (s *server) once(c *call, rt *route) error {
	key := c.r.Header.Get(idempotencyKey)
	if len(key) > maxKey || strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return badRequest("invalid_idempotency_key", "an Idempotency-Key has 1 to 255 printable ASCII characters", "Use a random one, such as a UUID.")
	}
	key = c.who.Subject + "\n" + c.r.URL.EscapedPath() + "?" + c.r.URL.RawQuery + "\n" + key
	known, err := s.answers.begin(c, key)
	switch {
	case err != nil:
		return err
	case known != nil:
		return c.replay(known)
	}
	var kept *replay
	defer func() { s.answers.end(c, key, kept) }() // also where the handler panics
	sum := sha256.New()
	body := c.r.Body
	read := &summed{ReadCloser: body, sum: sum}
	c.r.Body = read
	record := &recording{ResponseWriter: c.w, status: http.StatusOK}
	inner := *c
	inner.w = record
	if err := rt.serve(&inner); err != nil {
		if a, ok := unwrap(c.w); ok && a.sent {
			return err
		}
		s.problemOf(c.r, err).write(record)
	}
	io.Copy(io.Discard, io.LimitReader(c.r.Body, maxJSON)) // what the handler did not read belongs to the sum too
	if repeatable(record.status) || !read.whole {
		return nil
	}
	kept = &replay{done: true, lost: record.over, status: record.status, header: keptHeader(c.w.Header()), body: record.body.Bytes()}
	if inner.hide != nil {
		kept.body = inner.hide
	}
	sum.Sum(kept.sum[:0])
	return nil
}

// repeatable tells which answers are not kept, because the request may do better the next time. One whose body was not read to its end is not
// kept either: nothing could be held against it.
func repeatable(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

func keptHeader(h http.Header) http.Header {
	h = maps.Clone(h)
	for name := range h {
		if strings.Contains(name, "Ratelimit") || name == requestID {
			delete(h, name)
		}
	}
	return h
}

// replay answers a request that was sent before.
func (c *call) replay(known *replay) error {
	if !known.done {
		return &problem{Status: http.StatusConflict, Code: "idempotency_running", Title: "Still running", RetryAfter: 1,
			Detail: "a request with this Idempotency-Key is being carried out", Next: "Wait, then send it again to get its answer."}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, http.MaxBytesReader(c.w, c.r.Body, c.policy.Grants.AppBytes+maxJSON)); err != nil {
		return err
	}
	switch {
	case [sha256.Size]byte(sum.Sum(nil)) != known.sum:
		return &problem{Status: http.StatusUnprocessableEntity, Code: "idempotency_mismatch", Title: "Another request",
			Detail: "this Idempotency-Key was used with another body", Next: "Use a new key for a new request."}
	case known.lost:
		return &problem{Status: http.StatusConflict, Code: "idempotency_answer_lost", Title: "Done before",
			Detail: "the request was carried out before, and its answer was too long to keep", Next: "Look at what it made."}
	}
	maps.Copy(c.w.Header(), known.header)
	c.w.Header().Set(replayedHeader, "true")
	c.w.WriteHeader(known.status)
	c.w.Write(known.body) // fails only where the client has gone
	return nil
}

// summed counts a body's bytes into a sum as they are read.
type summed struct {
	io.ReadCloser
	sum   hash.Hash
	whole bool // the end was seen
}

func (s *summed) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	s.sum.Write(b[:n])
	s.whole = s.whole || err == io.EOF
	return n, err
}

// recording keeps a copy of an answer, up to maxAnswerKept.
type recording struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	over   bool
}

func (r *recording) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recording) Write(b []byte) (int, error) {
	if r.over = r.over || r.body.Len()+len(b) > maxAnswerKept; r.over {
		r.body.Reset()
	} else {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recording) Unwrap() http.ResponseWriter { return r.ResponseWriter }
