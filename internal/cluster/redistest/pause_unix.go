//go:build unix

package redistest

import "syscall"

// Pause stops it as SIGSTOP does: it takes connections and says nothing.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.running.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
