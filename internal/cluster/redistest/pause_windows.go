package redistest

// Pause is not to be had here; neither is redis-server.
func (s *Server) Pause() { s.t.Fatal("a server cannot be stopped here") }

// Resume ends a Pause.
func (s *Server) Resume() { s.t.Fatal("a server cannot be stopped here") }
