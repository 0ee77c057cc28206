package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// authenticate finds out who calls: by token, or, where Local says who that is, from this machine without one. Every token that is not good
// gets the same answer.
func (s *server) authenticate(c *call) error {
	header := c.r.Header.Get("Authorization")
	if header == "" && s.Local != nil && local(c.r.RemoteAddr) {
		c.who = *s.Local
		return nil
	}
	kind, text, _ := strings.Cut(header, " ")
	if header == "" || s.Store == nil || !strings.EqualFold(kind, "Bearer") || len(c.r.Header.Values("Authorization")) > 1 {
		return unauthenticated(c.w)
	}
	from := addressOf(c.r.RemoteAddr)
	parsed, err := tenants.ParseTokenText(strings.TrimSpace(text))
	hash := parsed.Hash()
	if wait := s.attempts.wait(from, hash, c.now); wait > 0 {
		return &problem{Status: http.StatusTooManyRequests, Code: "too_many_attempts", Title: "Too many wrong tokens", RetryAfter: after(wait),
			Detail: "too many tokens from this address were wrong", Next: "Wait, then use a token that is good."}
	}
	var token tenants.Token
	if err == nil {
		token, err = s.Store.Authenticate(c.ctx(), parsed.Reveal(), c.now)
		if err != nil && !errors.Is(err, store.ErrUnauthenticated) {
			return err
		}
	}
	if err != nil {
		s.attempts.wrong(from, c.now)
		return unauthenticated(c.w)
	}
	s.attempts.right(hash)
	c.token, c.who = &token, token.Principal()
	return nil
}

func unauthenticated(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="tenloom"`)
	return &problem{bare: true, Status: http.StatusUnauthorized, Code: "unauthenticated", Title: "Not signed in",
		Detail: "there is no token, or it is unknown, expired or revoked", Next: "Send Authorization: Bearer tlm_..., or sign in again: tenloom login."}
}

// local tells whether a connection comes from this machine: over a loopback address, or over a socket that has none.
func local(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// recheck is how often a stream asks whether its token is still good, beside being told of what this process revokes.
const recheck = 5 * time.Second

var errSignedOut = errors.New("the token has expired or was revoked")

// sessions are the streams that are open, by token, so that a token that is revoked here ends its streams at once. Their number is bounded by
// maxStreams.
type sessions struct {
	mu   sync.Mutex
	open map[tenants.TokenID]map[*call]context.CancelCauseFunc
}

// streaming gives the context of a stream: it ends when the client has gone, and with errSignedOut as its cause when the token is no longer
// good. The caller calls done.
func (c *call) streaming() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(c.ctx())
	if c.token == nil {
		return ctx, func() { cancel(nil) }
	}
	c.s.sessions.add(c, cancel)
	expired := time.AfterFunc(c.token.Expires.Sub(c.now), func() { cancel(errSignedOut) })
	ended := make(chan struct{})
	go func() { // ends with ctx; done waits for it
		defer close(ended)
		c.watchToken(ctx, cancel)
	}()
	return ctx, func() {
		expired.Stop()
		cancel(nil)
		c.s.sessions.remove(c)
		<-ended
	}
}

func (c *call) watchToken(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		have, err := c.s.Store.Token(ctx, c.token.Tenant, c.token.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && have.Value.Good(time.Now()) != nil {
			cancel(errSignedOut)
		}
	}
}

func (s *sessions) add(c *call, cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[c.token.ID] == nil {
		s.open[c.token.ID] = map[*call]context.CancelCauseFunc{}
	}
	s.open[c.token.ID][c] = cancel
}

func (s *sessions) remove(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open[c.token.ID], c)
	if len(s.open[c.token.ID]) == 0 {
		delete(s.open, c.token.ID)
	}
}

// end ends the streams of a token.
func (s *sessions) end(id tenants.TokenID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.open[id] {
		cancel(errSignedOut)
	}
}
