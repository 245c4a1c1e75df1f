package redistest

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dynproxy/internal/needs"
)

// Way is a link to a server that is Apart.
type Way struct {
	server *Server
	link   string // its far end
	host   string // the server's address there
}

// Apart starts a server in a network namespace of its own, to which so many
// links lead. The namespace and its links end with the server.
func Apart(t testing.TB, ways int) (*Server, []*Way) {
	t.Helper()
	needs.Tool(t, "Redis")
	needs.Tool(t, "network namespace")
	s := newServer(t)
	s.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	s.args = []string{"--bind", "0.0.0.0", "--protected-mode", "no"}
	s.start()
	var all []*Way
	for range ways {
		all = append(all, s.link())
	}
	s.host = all[0].host
	s.awaitAnswer()
	return s, all
}

// link lays one more link, between two addresses of those that are kept for
// the measuring of networks.
func (s *Server) link() *Way {
	s.t.Helper()
	n := rand.IntN(1 << 15)
	at := func(i int) string { return fmt.Sprintf("198.%d.%d.%d", 18+n>>14, n>>6&255, n<<2&255+i) }
	near, w := fmt.Sprintf("dpnear%d", n), &Way{s, fmt.Sprintf("dpfar%d", n), at(2)}
	s.ip("link", "add", near, "type", "veth", "peer", "name", w.link, "netns", s.pid())
	s.ip("address", "add", at(1)+"/30", "dev", near)
	s.ip("link", "set", near, "up")
	s.inside("address", "add", at(2)+"/30", "dev", w.link)
	w.Heal()
	return w
}

// URL is the server's address by this way, as a setting.
func (w *Way) URL() string { return "redis://" + w.host + ":" + w.server.port }

// Cut takes the link down at its far end: nothing passes any more, and nobody
// is told.
func (w *Way) Cut() { w.server.inside("link", "set", w.link, "down") }

// Heal ends a Cut.
func (w *Way) Heal() { w.server.inside("link", "set", w.link, "up") }

func (s *Server) pid() string { return strconv.Itoa(s.running.Process.Pid) }

func (s *Server) ip(args ...string) { s.network(append([]string{"ip"}, args...)...) }

// inside is ip in the server's namespace.
func (s *Server) inside(args ...string) {
	s.network(append([]string{"nsenter", "--target", s.pid(), "--net", "ip"}, args...)...)
}

func (s *Server) network(command ...string) {
	s.t.Helper()
	path, err := needs.Find(command[0])
	if err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command(path, command[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}
