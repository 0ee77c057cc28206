package api

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"hash"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	idempotencyKey = "Idempotency-Key"
	replayedHeader = "Idempotent-Replayed"
)

// Bounds of what is remembered of requests with an Idempotency-Key.
const (
	rememberFor    = 24 * time.Hour
	maxRemembered  = 10_000    // requests; at the bound the oldest that has ended is forgotten
	maxKept        = 32 << 20  // bytes of answers together; likewise
	maxAnswerKept  = 256 << 10 // bytes of one answer; a longer one is not kept, and its key is refused until it is forgotten
	maxKey         = 255       // bytes
	maxRunningKeys = 1_000     // requests with a key that run at once
)

// replays remember the first answer to each Idempotency-Key of each caller, so that a request that is sent again is not done again. They live as
// long as the process; what the answers made has names, digests and revisions of its own, by which a repetition after a restart is found.
type replays struct {
	mu      sync.Mutex
	byKey   map[string]*list.Element
	order   *list.List // of *replay, oldest first
	bytes   int
	running int
}

// replay is what is known of one key.
type replay struct {
	key    string
	since  time.Time
	done   bool
	lost   bool // the answer was too long to keep
	sum    [sha256.Size]byte
	status int
	header http.Header
	body   []byte
}

func newReplays() *replays { return &replays{byKey: map[string]*list.Element{}, order: list.New()} }

// begin returns what is known of a key, or notes that it is being done and returns nil.
func (p *replays) begin(key string, now time.Time) (*replay, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	if e := p.byKey[key]; e != nil {
		r := *e.Value.(*replay)
		return &r, nil
	}
	if p.running >= maxRunningKeys {
		return nil, tooMany()
	}
	p.running++
	p.byKey[key] = p.order.PushBack(&replay{key: key, since: now})
	return nil, nil
}

// forget drops what is too old, and what is over the bounds.
func (p *replays) forget(now time.Time) {
	var next *list.Element
	for e := p.order.Front(); e != nil; e = next {
		next = e.Next()
		r := e.Value.(*replay)
		old := now.Sub(r.since) >= rememberFor
		if !old && p.order.Len() < maxRemembered && p.bytes <= maxKept {
			return
		}
		if r.done {
			p.drop(e)
		}
	}
}

func (p *replays) drop(e *list.Element) {
	r := e.Value.(*replay)
	p.order.Remove(e)
	delete(p.byKey, r.key)
	p.bytes -= len(r.body)
}

// end keeps an answer, or forgets the key where the request may be tried again.
func (p *replays) end(key string, keep *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	e := p.byKey[key]
	if keep == nil {
		p.drop(e)
		return
	}
	keep.key, keep.since, keep.done = key, e.Value.(*replay).since, true
	e.Value = keep
	p.bytes += len(keep.body)
}

// once does a request with an Idempotency-Key, unless it was done before.
func (s *server) once(c *call, rt *route) error {
	key := c.r.Header.Get(idempotencyKey)
	if len(key) > maxKey || strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return badRequest("invalid_idempotency_key", "an Idempotency-Key has 1 to 255 printable ASCII characters", "Use a random one, such as a UUID.")
	}
	key = c.who.Subject + "\n" + c.r.URL.EscapedPath() + "?" + c.r.URL.RawQuery + "\n" + key
	known, err := s.replays.begin(key, c.now)
	switch {
	case err != nil:
		return err
	case known != nil:
		return c.replay(known)
	}
	var kept *replay
	defer func() { s.replays.end(key, kept) }() // also where the handler panics
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
	kept = &replay{lost: record.over, status: record.status, header: keptHeader(c.w.Header()), body: record.body.Bytes()}
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
