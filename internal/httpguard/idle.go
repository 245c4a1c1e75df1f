package httpguard

// CloseIdle closes the HTTP/1 connections that are kept and of whose next
// request nothing has come; with newToo, those as well of whose first request
// nothing has come. It returns how many are left that are not being served and
// may yet be: http.Server.Shutdown, which would break off those, comes after.
func (g *Guard) CloseIdle(newToo bool) (coming int) {
	coming = int(g.pending.Load())
	for _, s := range g.connections.waiting() {
		kept := s.kept.Load()
		c := s.framed.Load()
		switch {
		case c == nil: // HTTP/2, which says goodbye itself, or a handshake
		case c.begun.Load() || hasInput(s.Conn):
			coming++
		case kept || newToo:
			s.Conn.Close()
		default:
			coming++
		}
	}
	return coming
}

// keep notes that the connection waits for its next request. net/http calls it
// in the goroutine that reads.
func (s *session) keep() {
	if c := s.framed.Load(); c != nil {
		c.begun.Store(len(c.held) > 0)
	}
	s.kept.Store(true)
}
