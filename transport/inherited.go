package transport

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"goranch/internal/listenaddr"
)

// rebind implements engine.Rebind.
func rebind(addr string, bound net.Addr) string {
	a, err := listenaddr.Parse(addr)
	if err != nil || !a.Inherited() {
		return listenaddr.String(bound)
	}
	if a.Network == "systemd" {
		if fd, ok := inherited.boundTo(listenaddr.String(bound)); ok {
			return "fd:" + strconv.Itoa(fd)
		}
	}
	return addr
}

// Socket activation of systemd; see sd_listen_fds(3).
const (
	firstInherited = 3         // the first descriptor
	maxInherited   = 1 << 16   // the number of descriptors is limited to detect a wrong LISTEN_FDS
	unnamed        = "unknown" // the name of sockets without a name
)

// inherited are the inherited sockets of this process.
var inherited = inheritedSockets{used: make(map[int]*inheritedSocket)}

// inheritedSockets tracks the listeners of inherited sockets.
type inheritedSockets struct {
	mu   sync.Mutex
	used map[int]*inheritedSocket // by descriptor
}

type inheritedSocket struct {
	listeners int
	addr      string // in the form of listenaddr.String; remains after the last listener is closed
}

// boundTo returns the first descriptor that is bound to addr. If several are, one without a
// listener comes first.
func (s *inheritedSockets) boundTo(addr string) (fd int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, u := range s.used {
		if u.addr != addr {
			continue
		}
		if best := s.used[fd]; !ok || u.listeners < best.listeners || u.listeners == best.listeners && n < fd {
			fd, ok = n, true
		}
	}
	return fd, ok
}

// take counts another listener of fd. s.mu is held.
func (s *inheritedSockets) take(fd int, addr string) {
	u := s.used[fd]
	if u == nil {
		u = new(inheritedSocket)
		s.used[fd] = u
	}
	u.listeners++
	u.addr = addr
}

func (s *inheritedSockets) release(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[fd].listeners--
}

// find returns the descriptor that an address denotes. s.mu is held.
func (s *inheritedSockets) find(a listenaddr.Addr) (fd int, err error) {
	if a.Network == "fd" {
		return strconv.Atoi(a.Address)
	}
	// The environment is not cleared: a later Listen needs it, and LISTEN_PID tells child
	// processes that it is not for them.
	names, err := activation(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"), os.Getpid())
	if err != nil {
		return 0, err
	}
	return s.named(a.Address, names)
}

// named returns the first socket of that name without a listener. If no socket has the name and the
// name is a number, it is the index of the socket.
func (s *inheritedSockets) named(name string, names []string) (fd int, err error) {
	known := 0
	for i, n := range names {
		if n != name {
			continue
		}
		known++
		if u := s.used[firstInherited+i]; u == nil || u.listeners == 0 {
			return firstInherited + i, nil
		}
	}
	if known > 0 {
		return 0, fmt.Errorf("%w: all %d inherited sockets of that name have a listener", syscall.EADDRINUSE, known)
	}
	if i, err := strconv.ParseUint(name, 10, 31); err == nil && i < uint64(len(names)) {
		return firstInherited + int(i), nil
	}
	return 0, fmt.Errorf("%w: %d sockets were inherited, with the names %q", ErrNotInherited, len(names), names)
}

// activation returns the names of the inherited sockets, given the variables of socket activation
// and the id of this process.
func activation(pid, fds, names string, self int) ([]string, error) {
	if pid == "" || fds == "" {
		return nil, fmt.Errorf("%w: LISTEN_PID or LISTEN_FDS is not set: this process was not started by socket activation", ErrNotInherited)
	}
	if p, err := strconv.Atoi(pid); err != nil || p != self {
		return nil, fmt.Errorf("%w: LISTEN_PID is %q, so the sockets are for another process: this one is %d", ErrNotInherited, pid, self)
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 1 || n > maxInherited {
		return nil, fmt.Errorf("%w: LISTEN_FDS is %q: allowed are 1 to %d", ErrNotInherited, fds, maxInherited)
	}
	if names == "" {
		names = strings.Repeat(unnamed+":", n-1) + unnamed
	}
	list := strings.Split(names, ":")
	if len(list) != n {
		return nil, fmt.Errorf("%w: LISTEN_FDS is %d, but LISTEN_FDNAMES has %d names: %q", ErrNotInherited, n, len(list), names)
	}
	return list, nil
}
