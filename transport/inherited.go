package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var (
	// ErrNotInherited is wrapped by the error of a Listen on "fd:N" or "systemd:NAME" when
	// this process was given no such socket. The text says what there is.
	ErrNotInherited = errors.New("no such inherited socket")

	// ErrNotListening is wrapped by the error of a Listen on an inherited descriptor that
	// is no listening stream socket.
	ErrNotListening = errors.New("not a listening stream socket")
)

// rebind returns what to give to Listen to come back to the place that Listen(addr)
// has bound: the port that was chosen for ":0", and for an inherited socket the same
// descriptor, which nothing else can stand for.
func rebind(addr string, bound net.Addr) string {
	a, err := ParseAddr(addr)
	if err != nil || !a.Inherited() {
		return AddrString(bound)
	}
	if a.Network == "systemd" {
		if fd, ok := inherited.boundTo(AddrString(bound)); ok {
			return "fd:" + strconv.Itoa(fd)
		}
	}
	return addr
}

// firstInherited is the first descriptor of socket activation, and unnamed what systemd
// calls those without a name.
const (
	firstInherited = 3
	maxInherited   = 1 << 16
	unnamed        = "unknown"
)

// inherited knows which descriptors are listened on.
var inherited = sockets{uses: make(map[int]*use)}

type sockets struct {
	mu   sync.Mutex
	uses map[int]*use
}

type use struct {
	listeners int
	addr      string // in the form of AddrString; stays when nobody listens
}

// boundTo returns the first descriptor with that address; where several share it, one that
// nobody listens on comes first.
func (s *sockets) boundTo(addr string) (fd int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, u := range s.uses {
		if u.addr != addr {
			continue
		}
		if best := s.uses[fd]; !ok || u.listeners < best.listeners || u.listeners == best.listeners && n < fd {
			fd, ok = n, true
		}
	}
	return fd, ok
}

// take notes another listener of fd. s.mu is held.
func (s *sockets) take(fd int, addr string) {
	u := s.uses[fd]
	if u == nil {
		u = new(use)
		s.uses[fd] = u
	}
	u.listeners++
	u.addr = addr
}

func (s *sockets) release(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses[fd].listeners--
}

// find returns the descriptor that an address stands for. s.mu is held.
func (s *sockets) find(a Addr) (fd int, err error) {
	if a.Network == "fd" {
		return strconv.Atoi(a.Address)
	}
	// The environment stays as it is: LISTEN_PID keeps children from taking it for
	// theirs, and a later Listen needs it again.
	names, err := activation(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"), os.Getpid())
	if err != nil {
		return 0, err
	}
	return s.named(a.Address, names)
}

// named returns the first socket of that name that nobody listens on; of a name that is
// none but a number, the socket with that index.
func (s *sockets) named(name string, names []string) (fd int, err error) {
	known := 0
	for i, n := range names {
		if n != name {
			continue
		}
		known++
		if u := s.uses[firstInherited+i]; u == nil || u.listeners == 0 {
			return firstInherited + i, nil
		}
	}
	if known > 0 {
		return 0, fmt.Errorf("%w: each of the %d inherited sockets of that name is listened on", syscall.EADDRINUSE, known)
	}
	if i, err := strconv.ParseUint(name, 10, 31); err == nil && i < uint64(len(names)) {
		return firstInherited + int(i), nil
	}
	return 0, fmt.Errorf("%w: there are %d, with the names %q", ErrNotInherited, len(names), names)
}

// activation reads the variables of socket activation, and returns the sockets' names.
func activation(pid, fds, names string, self int) ([]string, error) {
	if pid == "" || fds == "" {
		return nil, fmt.Errorf("%w: LISTEN_PID and LISTEN_FDS are not both set: this process was not started by socket activation", ErrNotInherited)
	}
	if p, err := strconv.Atoi(pid); err != nil || p != self {
		return nil, fmt.Errorf("%w: LISTEN_PID is %q, they are for another process: this one is %d", ErrNotInherited, pid, self)
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
