package daemon

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CanShare says whether several processes can listen at one address here.
const CanShare = true

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// handOver leaves a shared socket. The system gives each new connection to one
// of the sockets by a hash; a program (classic BPF, which needs no privilege)
// can choose instead. So: new ones go to another socket, what has begun with
// this one ends, then the program is taken away, since the next process would
// find it, and the socket closed. What comes between the last two steps finds a
// filter that drops it, so that its system tries again a second later: late and
// not lost. Where the program cannot be had, the filter does it all.
func (s *Socket) handOver() {
	led := s.leadAway() == nil
	if !led {
		s.attach(unix.SO_ATTACH_FILTER, dropNew)
	}
	time.Sleep(handshakeTime)
	if led {
		s.attach(unix.SO_ATTACH_FILTER, dropNew)
		time.Sleep(queueTime)
		s.detach()
	}
	s.TCPListener.Close()
}

// maxProcesses is how many processes may share a socket and still find out
// which is theirs.
const maxProcesses = 16

var errNotFound = errors.New("which socket is ours cannot be found out")

// leadAway lets the system give new connections to another socket. Sockets are
// known to it by number, and to nobody else: connections from the addresses of
// probeNet go to the socket that the last byte names, and show who it is.
func (s *Socket) leadAway() error {
	if err := s.attach(unix.SO_ATTACH_REUSEPORT_CBPF, byProbe); err != nil {
		return err
	}
	own := s.Addr().(*net.TCPAddr).AddrPort()
	to := own.Addr().Unmap()
	if to.IsUnspecified() {
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !to.Is4() {
		return errNotFound
	}
	for k := range byte(maxProcesses) {
		from := probeNet.Addr().As4()
		from[3] = k
		dial := net.Dialer{LocalAddr: &net.TCPAddr{IP: from[:]}, Timeout: time.Second}
		c, err := dial.Dial("tcp4", net.JoinHostPort(to.String(), strconv.Itoa(int(own.Port()))))
		if err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.Read(make([]byte, 1)) // whose it is closes it
		c.Close()
		select {
		case <-s.probes:
			other := uint32(0)
			if k == 0 {
				other = 1 // if there is none, the system chooses as it did
			}
			return s.attach(unix.SO_ATTACH_REUSEPORT_CBPF, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: other}})
		default:
		}
	}
	return errNotFound
}

// attach gives the socket a program of classic BPF.
func (s *Socket) attach(option int, program []unix.SockFilter) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, option, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}

// detach takes away the program that chooses sockets.
func (s *Socket) detach() {
	if raw, err := s.SyscallConn(); err == nil {
		control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) })
	}
}

const (
	all        = 0xffffffff
	ipHeader   = 0xfff00000 // SKF_NET_OFF: where a packet's IP header begins
	ipSource   = ipHeader + 12
	tcpFlags   = 13
	flagSYN    = 0x02
	flagSYNACK = 0x12
)

// dropNew drops what begins a connection. (A packet is seen from its TCP header
// on.)
var dropNew = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: tcpFlags},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: flagSYNACK},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: flagSYN},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: all},
}

// byProbe chooses the socket that the last byte of a probe's address names, and
// none otherwise: then the system chooses.
var byProbe = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: ipSource},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xffffff00},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 2, K: 127<<24 | 77<<16 | 77<<8},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ipSource + 3},
	{Code: unix.BPF_RET | unix.BPF_A},
	{Code: unix.BPF_RET | unix.BPF_K, K: all},
}
