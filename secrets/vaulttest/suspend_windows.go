package vaulttest

// Suspend is not to be had here.
func (s *Server) Suspend() { s.t.Fatal("a process cannot be suspended on this system") }

// Continue ends Suspend.
func (s *Server) Continue() {}

func (s *Server) reap() {}
