package transport

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// On Linux, accepted sockets inherit these options of the listening socket: they are set once,
	// not for each connection.
	listenerInherits = true

	canReusePort = true
)

// setOptions sets the options of t on a socket before it is bound or connected.
func (t TCP) setOptions(fd uintptr, network string, r role) error {
	s := sockopts{fd: int(fd)}
	s.setBuffers(t)
	if r == sharing {
		s.set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if r != dialling && t.UnixMode != 0 && network == "unix" {
		// bind(2) creates the file with the mode of the socket's inode, reduced by the umask.
		s.fail("fchmod", unix.Fchmod(s.fd, uint32(t.UnixMode.Perm())))
	}
	tcp := strings.HasPrefix(network, "tcp")
	if tcp && r == dialling && t.FastOpen > 0 {
		s.set("TCP_FASTOPEN_CONNECT", unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	}
	if tcp && r != dialling {
		if t.DeferAccept > 0 {
			s.set("TCP_DEFER_ACCEPT", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(t.DeferAccept, 0))
		}
		if t.FastOpen > 0 {
			s.set("TCP_FASTOPEN", unix.IPPROTO_TCP, unix.TCP_FASTOPEN, t.FastOpen)
		}
		if t.KeepAlive >= 0 {
			s.set("SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			s.set("TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(t.KeepAlive, 15))
			s.set("TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(t.KeepAliveInterval, 15))
			s.set("TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, orDefault(t.KeepAliveCount, 9))
		}
		if t.Linger != 0 && s.err == nil {
			l := unix.Linger{Onoff: 1, Linger: int32(max(t.Linger, 0))}
			s.fail("SO_LINGER", unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
		}
	}
	return s.err
}

// sockopts sets options until one fails. Negative values keep the value of the system.
type sockopts struct {
	fd  int
	err error
}

func (s *sockopts) set(name string, level, opt, value int) {
	if s.err == nil && value >= 0 {
		s.fail(name, unix.SetsockoptInt(s.fd, level, opt, value))
	}
}

func (s *sockopts) fail(name string, err error) {
	if s.err == nil {
		s.err = os.NewSyscallError(name, err)
	}
}

func (s *sockopts) setBuffers(t TCP) {
	if t.ReadBuffer > 0 {
		s.set("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, t.ReadBuffer)
	}
	if t.WriteBuffer > 0 {
		s.set("SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, t.WriteBuffer)
	}
}

func seconds(d time.Duration, zero int) int {
	if d == 0 {
		return zero
	}
	if d < 0 {
		return -1 // rounding up would turn a second or less into 0
	}
	return int((d + time.Second - 1) / time.Second)
}

func orDefault(n, zero int) int {
	if n == 0 {
		return zero
	}
	return n
}
