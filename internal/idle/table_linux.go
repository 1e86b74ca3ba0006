package idle

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const canPark = true

// parkedConns are the parked connections of this process.
var parkedConns table

// table is the set of parked connections and the epoll instance that watches their sockets.
type table struct {
	mu      sync.Mutex
	entries []entry  // by file descriptor
	n       int      // entries in use
	epoll   *os.File // nil while n is 0
	fd      int      // of epoll
}

type entry struct {
	reads *Reads // nil: not in use
	waker Waker
}

// add registers a connection. Its descriptor must stay open until the entry is removed.
func (t *table) add(fd int, r *Reads, w Waker) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoll == nil && !t.open() {
		return false
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	if unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, fd, &ev) != nil {
		t.closeIfEmpty()
		return false
	}
	if fd >= len(t.entries) {
		t.entries = append(t.entries, make([]entry, fd+1-len(t.entries))...)
	}
	if old := t.entries[fd]; old.reads != nil {
		// Other code has closed its socket, past Close, and the kernel has dropped it from epoll.
		go old.wake() // Reads.mu is locked before t.mu
	} else {
		t.n++
	}
	t.entries[fd] = entry{r, w}
	return true
}

// remove removes the entry of r and returns its Waker; nil if the poller has removed it.
func (t *table) remove(fd int, r *Reads) Waker {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd >= len(t.entries) || t.entries[fd].reads != r {
		return nil
	}
	return t.clear(fd).waker
}

// clear removes an entry whose descriptor is still open. t.mu is held.
func (t *table) clear(fd int) entry {
	e := t.entries[fd]
	t.entries[fd] = entry{}
	unix.EpollCtl(t.fd, unix.EPOLL_CTL_DEL, fd, nil)
	t.n--
	t.closeIfEmpty()
	return e
}

func (t *table) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	unix.SetNonblock(fd, true) // required by the runtime's poller
	f := os.NewFile(uintptr(fd), "parked connections")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return false
	}
	t.epoll, t.fd = f, fd
	go t.poll(raw)
	return true
}

func (t *table) closeIfEmpty() {
	if t.n == 0 && t.epoll != nil {
		t.epoll.Close() // ends poll
		t.epoll, t.entries = nil, nil
	}
}

// poll wakes connections with readable sockets until the epoll instance is closed.
func (t *table) poll(raw syscall.RawConn) {
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
			t.readable(int(e.Fd))
		}
	}
}

// readable wakes the connection that is parked with fd. If the descriptor was closed and reused
// after the event, that is another connection: its read finds no data, and it is parked again
// later.
func (t *table) readable(fd int) {
	t.mu.Lock()
	var e entry
	if fd < len(t.entries) && t.entries[fd].reads != nil {
		e = t.clear(fd)
	}
	t.mu.Unlock()
	if e.reads != nil {
		e.wake()
	}
}

// wake wakes a connection whose entry was taken out of the table.
func (e entry) wake() {
	e.reads.mu.Lock()
	e.reads.fd = 0
	e.reads.mu.Unlock()
	e.waker.Wake()
}
