package bots

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bestDriver is the one for this system.
var bestDriver driver = driveEpoll

const (
	edges         = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	controlNumber = -1
	dialsAtOnce   = 64
	maxWait       = 20 * time.Millisecond
)

// loop drives a crew with one thread.
type loop struct {
	c      *crew
	ep     int
	fds    []int32  // 0 is none
	unsent [][]byte // what sockets have not taken
	buf    []byte
	remote unix.Sockaddr
	family int
	spread bool

	control *os.File
	orders  orders
}

func driveEpoll(c *crew, control *os.File) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &loop{c: c, fds: make([]int32, c.Clients), unsent: make([][]byte, c.Clients), buf: make([]byte, 256<<10), control: control}
	if err := l.target(); err != nil {
		return err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	l.ep = ep
	defer l.end()
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: controlNumber}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, int(control.Fd()), &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return l.run()
}

func (l *loop) target() error {
	to, err := netip.ParseAddrPort(l.c.Address)
	if err != nil {
		return err
	}
	if ip := to.Addr().Unmap(); ip.Is4() {
		l.family, l.remote = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
		l.spread = ip.IsLoopback()
		return nil
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return err
		}
		sa.ZoneId = uint32(i.Index)
	}
	l.family, l.remote = unix.AF_INET6, sa
	return nil
}

func (l *loop) run() error {
	events := make([]unix.EpollEvent, 512)
	for {
		now := time.Now()
		closing, done := l.c.tick(now)
		for _, i := range closing {
			l.close(i)
		}
		if done {
			return l.c.outErr
		}
		wait := maxWait
		if l.connect(now) == dialsAtOnce {
			wait = 0
		}
		n, err := unix.EpollWait(l.ep, events, int(wait.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd != controlNumber {
				l.advance(int(ev.Fd), ev.Events)
			} else if err := l.obey(); err != nil {
				return err
			}
		}
	}
}

// connect begins what connections may be begun now, and returns how many.
func (l *loop) connect(now time.Time) int {
	for n := range dialsAtOnce {
		i, ok := l.c.next(now)
		if !ok {
			return n
		}
		if err := l.dial(i); err != nil {
			l.lose(i, err)
		}
	}
	return dialsAtOnce
}

func (l *loop) dial(i int) error {
	fd, err := unix.Socket(l.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	l.fds[i] = int32(fd)
	if l.spread { // the port is chosen at connect, where the whole pair of addresses counts
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: sourceAddr(l.c.First + i)}); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	l.unsent[i] = []byte(greet)
	if err := unix.Connect(fd, l.remote); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	ev := unix.EpollEvent{Events: edges, Fd: int32(i)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev))
}

// advance does what a bot's socket is ready for.
func (l *loop) advance(i int, events uint32) {
	ends := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if l.fds[i] == 0 {
		return // was closed after the event
	}
	if err := l.flush(i); err != nil {
		l.lose(i, err)
		return
	}
	for {
		n, err := rawIO(syscall.SYS_READ, int(l.fds[i]), l.buf)
		switch {
		case err == unix.EAGAIN:
			return
		case err == nil && n == 0:
			err = io.EOF
		}
		if err == nil {
			var answer []byte
			if answer, err = l.c.take(i, l.buf[:n], time.Now()); err == nil && len(answer) > 0 {
				l.unsent[i] = append(l.unsent[i], answer...)
				err = l.flush(i)
			}
		}
		if err != nil {
			l.lose(i, err)
			return
		}
		if n < len(l.buf) && !ends { // edge-triggered: there is no more; but an end is not told of twice
			return
		}
	}
}

// flush writes what the socket takes.
func (l *loop) flush(i int) error {
	if len(l.unsent[i]) == 0 {
		return nil
	}
	n, err := rawIO(syscall.SYS_WRITE, int(l.fds[i]), l.unsent[i])
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	if l.unsent[i] = l.unsent[i][n:]; len(l.unsent[i]) == 0 {
		l.unsent[i] = nil
	}
	l.c.connected(i, time.Now())
	return nil
}

func (l *loop) lose(i int, err error) {
	l.c.lose(i, err, time.Now())
	l.close(i)
}

func (l *loop) close(i int) {
	if l.fds[i] != 0 {
		if b := l.c.farewell(i); b != nil {
			rawIO(syscall.SYS_WRITE, int(l.fds[i]), b) // a socket that does not take it is lost anyway
		}
		unix.Close(int(l.fds[i]))
		l.fds[i] = 0
	}
	l.unsent[i] = nil
}

func (l *loop) end() {
	for i := range l.fds {
		l.close(i)
	}
	unix.Close(l.ep)
}

func (l *loop) obey() error {
	n, err := l.control.Read(l.buf)
	if err != nil {
		return fmt.Errorf("the coordinator has gone: %w", err)
	}
	return l.orders.read(l.buf[:n], func(o order) { l.c.obey(o, time.Now()) })
}

// rawIO reads or writes without telling Go's scheduler, which for a call that never blocks is only a cost.
func rawIO(trap uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno == syscall.EINTR {
		return 0, syscall.EAGAIN
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
