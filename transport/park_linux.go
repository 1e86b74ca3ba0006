package transport

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const canPark = true

// parkingLot is the lot of this process.
var parkingLot lot

// lot is where connections wait that need no goroutine: in an epoll of its own, of which one
// goroutine reads. That waits in the runtime's poller in turn, so it holds no thread, and it lives
// as long as somebody is parked. lot.mu comes after wire.mu.
type lot struct {
	mu    sync.Mutex
	spots []spot   // by file descriptor
	n     int      // how many of them are taken
	epoll *os.File // nil while there are none
	fd    int      // of epoll
}

// spot is that of one connection.
type spot struct {
	c  *Conn
	wk Waker
}

// add parks c, whose descriptor stays open meanwhile.
func (l *lot) add(fd int, c *Conn, wk Waker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll == nil && !l.open() {
		return false
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	if unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &ev) != nil {
		l.closeIfEmpty()
		return false
	}
	if fd >= len(l.spots) {
		l.spots = append(l.spots, make([]spot, fd+1-len(l.spots))...)
	}
	l.spots[fd] = spot{c, wk}
	l.n++
	return true
}

// take ends the parking of c; nil if that has ended already.
func (l *lot) take(fd int, c *Conn) Waker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd >= len(l.spots) || l.spots[fd].c != c {
		return nil
	}
	return l.clear(fd).wk
}

// clear empties a spot while its descriptor cannot be anybody else's yet. l.mu is held.
func (l *lot) clear(fd int) spot {
	s := l.spots[fd]
	l.spots[fd] = spot{}
	unix.EpollCtl(l.fd, unix.EPOLL_CTL_DEL, fd, nil)
	l.n--
	l.closeIfEmpty()
	return s
}

func (l *lot) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	unix.SetNonblock(fd, true) // or the runtime's poller does not take it
	f := os.NewFile(uintptr(fd), "parked connections")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return false
	}
	l.epoll, l.fd = f, fd
	go l.watch(raw)
	return true
}

func (l *lot) closeIfEmpty() {
	if l.n == 0 && l.epoll != nil {
		l.epoll.Close() // ends watch
		l.epoll, l.spots = nil, nil
	}
}

// watch wakes those for whom something has come, until the epoll is closed.
func (l *lot) watch(raw syscall.RawConn) {
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			l.wake(int(e.Fd))
		}
	}
}

// wake wakes who is parked there. Should it be somebody who has come after the event, that one
// finds nothing to read and is parked again later.
func (l *lot) wake(fd int) {
	l.mu.Lock()
	var s spot
	if fd < len(l.spots) && l.spots[fd].c != nil {
		s = l.clear(fd)
	}
	l.mu.Unlock()
	if s.c == nil {
		return
	}
	w := &s.c.wire
	w.mu.Lock()
	w.parked = 0
	w.mu.Unlock()
	s.wk.Wake()
}
