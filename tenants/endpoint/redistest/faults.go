package redistest

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// do sends one command as the server's default user, and fails the test where it is refused.
func (s *Server) do(args ...any) any {
	s.t.Helper()
	reply, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%s: %v: %v", s.Addr, args[:min(len(args), 2)], err)
	}
	return reply
}

func (s *Server) try(args ...any) (any, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	return c.Do(ctx, args...).Result()
}

// SetUser makes or changes an ACL user: SetUser("app", "on", ">pw", "&orders", "+subscribe", "+ping"). Rules add to those that the user has.
func (s *Server) SetUser(name string, rules ...string) {
	s.t.Helper()
	args := []any{"ACL", "SETUSER", name}
	for _, r := range rules {
		args = append(args, r)
	}
	s.do(args...)
}

// DelUser removes an ACL user, which closes its connections.
func (s *Server) DelUser(name string) {
	s.t.Helper()
	s.do("ACL", "DELUSER", name)
}

// Pause stops the server from reading commands of any client, for as long as d or until Unpause (CLIENT PAUSE ALL). Subscribers get nothing meanwhile.
func (s *Server) Pause(d time.Duration) {
	s.t.Helper()
	s.do("CLIENT", "PAUSE", d.Milliseconds(), "ALL")
}

// Unpause ends a Pause.
func (s *Server) Unpause() {
	s.t.Helper()
	s.do("CLIENT", "UNPAUSE")
}

// KillClients closes the connections of a type ("normal", "pubsub", "replica") and returns how many there were.
func (s *Server) KillClients(kind string) int64 {
	s.t.Helper()
	n, ok := s.do("CLIENT", "KILL", "TYPE", kind).(int64)
	if !ok {
		s.t.Fatalf("CLIENT KILL answers with no number")
	}
	return n
}

// KillUser closes the connections of an ACL user and returns how many there were.
func (s *Server) KillUser(name string) int64 {
	s.t.Helper()
	n, _ := s.do("CLIENT", "KILL", "USER", name).(int64)
	return n
}

// until waits for what a server or a group of them does by itself.
func until(t testing.TB, what string, holds func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond) // nobody announces it
	defer tick.Stop()
	end := time.Now().Add(2 * readyWithin)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
		<-tick.C
	}
}

func wants(what string, got, want any) error {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return nil
	}
	return fmt.Errorf("%s is %v, not %v", what, got, want)
}
